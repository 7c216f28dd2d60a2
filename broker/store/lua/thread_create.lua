#!lua
-- Makes a thread with an agent that is there: the look and the change are one step, so that no thread begins with
-- an agent that went in between.
-- ARGV: id, owner, agent (its id or name), title, stale_ms, expire_ms
-- Returns: {'ok'} · {'unknown'} (the agent)
local id, owner, title = ARGV[1], ARGV[2], ARGV[4]
local now = now_ms()
local agent = call('HGET', P .. 'agent-ids', ARGV[3]) or ARGV[3]
local a = call('HMGET', P .. 'agent:' .. agent, 'id', 'kind', 'status', 'inactiveSince', 'session')
if not a[1] then return { 'unknown' } end
if a[2] == 'virtual' then
  local _, _, gone = seen('agent:' .. agent, a[3], a[4], a[5], now, tonumber(ARGV[5]), tonumber(ARGV[6]))
  if gone then return { 'unknown' } end
end
call('HSET', P .. 'thread:' .. id, 'id', id, 'agent', agent, 'agentId', a[1], 'owner', owner, 'title', title,
  'createdAt', int(now), 'updatedAt', int(now), 'turns', 0, 'running', '', 'events', 0)
touch(id, owner, agent, now)
return { 'ok' }
