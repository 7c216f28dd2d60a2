#!lua
-- Makes a public LLM row. The name is free, or held by a virtual row that nobody sees any more. The
-- look and the change must be one step, or a publisher could take the name in between.
-- ARGV: llm (name), id, owner, fields (JSON of texts, ready to store), stale_ms, expire_ms
-- Returns: {'ok'} · {'public'} · {'virtual', status} · {'no_secret', name}
local llm, id, owner, fields = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
local now = now_ms()
local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'status', 'inactiveSince', 'session')
if row[1] == 'public' then return { 'public' } end
if row[1] then
  local status, _, gone = seen('llm:' .. llm, row[2], row[3], row[4], now, tonumber(ARGV[5]), tonumber(ARGV[6]))
  if not gone then return { 'virtual', status } end
end
if not has_secret(fields.apiKeyRef) then return { 'no_secret', fields.apiKeyRef } end
if row[1] then drop_llm(llm) end
local key = P .. 'llm:' .. llm
call('HSET', key, 'id', id, 'name', llm, 'kind', 'public', 'status', 'active', 'owner', owner, 'version', 1,
  'createdAt', int(now), 'updatedAt', int(now))
call('SADD', P .. 'llms', llm)
call('HSET', P .. 'llm-ids', id, llm)
fill(llm, fields)
emit('llm.active', llm, 'public')
return { 'ok' }
