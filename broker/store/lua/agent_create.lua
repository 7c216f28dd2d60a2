#!lua
-- Makes a public agent. The name is free, or held by a virtual agent that nobody sees any more, and its LLM, project
-- and personality are there. The looks and the change must be one step, or a publisher could take the name, or the LLM
-- go, in between.
-- ARGV: agent (name), id, owner, fields (JSON of texts, ready to store; llm, project,
--       personality: its id or name, or ''), stale_ms, expire_ms
-- Returns: {'ok'} · {'public'} · {'virtual', status} · {'no_llm'} · {'no_project'} · {'no_personality'}
local agent, id, owner, fields = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
local stale_ms, expire_ms = tonumber(ARGV[5]), tonumber(ARGV[6])
local now = now_ms()
local row = call('HMGET', P .. 'agent:' .. agent, 'kind', 'status', 'inactiveSince', 'session')
if row[1] == 'public' then return { 'public' } end
if row[1] then
  local status, _, gone = seen('agent:' .. agent, row[2], row[3], row[4], now, stale_ms, expire_ms)
  if not gone then return { 'virtual', status } end
end
if fields.llm ~= '' then
  fields.llm = llm_called(fields.llm, now, stale_ms, expire_ms)
  if not fields.llm then return { 'no_llm' } end
end
local refused = settle_names(fields)
if refused then return { refused } end
if row[1] then drop_agent(agent) end
call('HSET', P .. 'agent:' .. agent, 'id', id, 'name', agent, 'kind', 'public', 'status', 'active', 'owner', owner,
  'version', 1, 'createdAt', int(now), 'updatedAt', int(now))
call('SADD', P .. 'agents', agent)
call('HSET', P .. 'agent-ids', id, agent)
dress(agent, fields)
emit('agent.active', agent, 'public')
return { 'ok' }
