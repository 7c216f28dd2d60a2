#!lua
-- Changes the given fields of a public agent, and only if nobody did so since its editor looked: the look at the
-- version, the look at its LLM, project and personality and the edit must be one step.
-- ARGV: agent (name), id, owner ('' = an admin's), version ('' = whichever), fields (JSON of texts, ready to store;
--       llm, project, personality: its id or name, or ''), stale_ms, expire_ms
-- Returns: {'ok'} · {'unknown'} · {'virtual'} · {'version', the row's} · {'no_llm'} · {'no_project'}
--          · {'no_personality'}
local agent, id, owner, version, fields = ARGV[1], ARGV[2], ARGV[3], ARGV[4], cjson.decode(ARGV[5])
local stale_ms, expire_ms = tonumber(ARGV[6]), tonumber(ARGV[7])
local now = now_ms()
local row = call('HMGET', P .. 'agent:' .. agent, 'kind', 'version', 'id', 'owner', 'status', 'inactiveSince', 'session')
if row[3] ~= id then return { 'unknown' } end
if row[1] ~= 'public' then
  local _, _, gone = seen('agent:' .. agent, row[5], row[6], row[7], now, stale_ms, expire_ms)
  return { gone and 'unknown' or 'virtual' }
end
if owner ~= '' and owner ~= row[4] then return { 'unknown' } end
if version ~= '' and version ~= row[2] then return { 'version', row[2] } end
if fields.llm and fields.llm ~= '' then
  fields.llm = llm_called(fields.llm, now, stale_ms, expire_ms)
  if not fields.llm then return { 'no_llm' } end
end
local refused = settle_names(fields)
if refused then return { refused } end
dress(agent, fields)
call('HINCRBY', P .. 'agent:' .. agent, 'version', 1)
call('HSET', P .. 'agent:' .. agent, 'updatedAt', int(now))
emit('agent.edited', agent, '')
return { 'ok' }
