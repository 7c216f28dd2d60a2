#!lua flags=allow-oom
-- Deletes one LLM row (a public one is an admin's), unless agents are pinned to it. One that readers do not see any more is
-- in nobody's way; it goes with the row.
-- ARGV: llm (name), owner ('' = an admin's), stale_ms, expire_ms
-- Returns: {'ok'} · {'unknown'} · {'pinned', agent, …}
local llm, owner = ARGV[1], ARGV[2]
local row = call('HMGET', P .. 'llm:' .. llm, 'id', 'owner', 'kind')
if not row[1] or (owner ~= '' and (row[2] ~= owner or row[3] == 'public')) then return { 'unknown' } end
local pinned, now = { 'pinned' }, now_ms()
for _, agent in ipairs(call('SMEMBERS', P .. 'llm-agents:' .. llm)) do
  local a = call('HMGET', P .. 'agent:' .. agent, 'kind', 'status', 'inactiveSince', 'session')
  local gone = false
  if a[1] == 'virtual' then
    _, _, gone = seen('agent:' .. agent, a[2], a[3], a[4], now, tonumber(ARGV[3]), tonumber(ARGV[4]))
  end
  if not gone then pinned[#pinned + 1] = agent end
end
if #pinned > 1 then return pinned end
drop_llm(llm)
return { 'ok' }
