#!lua flags=no-writes
-- Lists sessions as everybody must see them: one without a heartbeat is inactive even before a sweep says so, and one
-- of which every row is past its time is not there.
-- ARGV: owner ('' = everybody's), sid ('' = every one), stale_ms, expire_ms
-- Returns: for each {sid, owner, instance, channel (0|1), status, heartbeatAt, createdAt, "llm:<name>" | "agent:<name>" …}
local owner, only, stale_ms, expire_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_ms()
local sessions = {}
for _, sid in ipairs(only ~= '' and { only } or call('SMEMBERS', P .. 'sessions')) do
  local s = call('HMGET', P .. 'session:' .. sid, 'owner', 'instance', 'channel', 'heartbeatAt', 'createdAt', 'down', 'leaving')
  if s[1] and (owner == '' or owner == s[1]) then
    local here = call('EXISTS', P .. 'alive:' .. sid) == 1 and s[6] ~= '1' and s[7] ~= '1'
    local open = s[3] and s[3] ~= ''
    local session = { sid, s[1], s[2] or '', open and '1' or '0', here and 'active' or 'inactive', s[4] or '', s[5] or '' }
    local head = #session
    for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
      local row = call('HMGET', P .. member, 'status', 'inactiveSince', 'session')
      local _, _, gone = seen(member, row[1], row[2], row[3], now, stale_ms, expire_ms)
      if row[1] and not gone then session[#session + 1] = member end
    end
    if #session > head then sessions[#sessions + 1] = session end
  end
end
return sessions
