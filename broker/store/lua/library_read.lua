#!lua flags=no-writes
-- Reads projects, personalities or prompts, with what they name as it is called now.
-- ARGV: family (project | personality | prompt), stale_ms, expire_ms, key (a prompt's id, else a name) …
-- Returns: for each that is there {{field, value …}, {what it names …}}: of a personality id, name, scope, of each
--          of its prompts; of a prompt the id of its project or agent, '' for none that is there; of a project nothing
local family, stale_ms, expire_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local rows = {}
for i = 4, #ARGV do
  local key = P .. family .. ':' .. ARGV[i]
  local fields, named = call('HGETALL', key), {}
  if family == 'personality' and #fields > 0 then
    for _, id in ipairs(cjson.decode(call('HGET', key, 'prompts') or '[]')) do
      local p = call('HMGET', P .. 'prompt:' .. id, 'name', 'scope', 'of')
      for _, text in ipairs({ id, p[1] or '', p[2] or 'global', p[3] or '' }) do named[#named + 1] = text end
    end
  elseif family == 'prompt' and #fields > 0 then
    local p = call('HMGET', key, 'scope', 'of')
    local of = p[1] == 'agent' and agent_called(p[2], now, stale_ms, expire_ms) or p[1] == 'project' and p[2]
    named[1] = of and call('HGET', P .. p[1] .. ':' .. of, 'id') or ''
  end
  if #fields > 0 then rows[#rows + 1] = { fields, named } end
end
return rows
