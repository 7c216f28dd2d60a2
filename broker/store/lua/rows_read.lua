#!lua flags=no-writes
-- Reads rows as everybody must see them: a row without a heartbeat is inactive even before a
-- sweep says so, and one that is past its time is not there.
-- ARGV: family (llm | agent), stale_ms, expire_ms, name …
-- Returns: for each row that is there {fields and values…}, with status, inactiveSince,
--          lastHeartbeatAt and channel (0|1) as they are now; of an agent also llmId, projectId,
--          personalityId ('' for what is not there)
local family, stale_ms, expire_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local rows = {}
for i = 4, #ARGV do
  local fields = call('HGETALL', P .. family .. ':' .. ARGV[i])
  if #fields > 0 then
    local row = {}
    for j = 1, #fields, 2 do row[fields[j]] = fields[j + 1] end
    local gone = false
    if row.kind == 'virtual' then
      local s = call('HMGET', P .. 'session:' .. (row.session or ''), 'heartbeatAt', 'channel')
      local status, since
      local member = family .. ':' .. ARGV[i]
      status, since, gone = seen(member, row.status, row.inactiveSince, row.session, now, stale_ms, expire_ms)
      row.status = status
      row.inactiveSince = status == 'inactive' and int(since or now) or ''
      row.lastHeartbeatAt = s[1] or row.lastHeartbeatAt or ''
      row.channel = s[2] and s[2] ~= '' and '1' or '0'
    end
    if row.llm then row.llmId = call('HGET', P .. 'llm:' .. row.llm, 'id') or '' end
    if row.project then row.projectId = call('HGET', P .. 'project:' .. row.project, 'id') or '' end
    if row.personality then row.personalityId = call('HGET', P .. 'personality:' .. row.personality, 'id') or '' end
    if not gone then
      local flat = {}
      for field, value in pairs(row) do
        flat[#flat + 1] = field
        flat[#flat + 1] = value
      end
      rows[#rows + 1] = flat
    end
  end
end
return rows
