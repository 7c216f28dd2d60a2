#!lua
-- Changes the given fields of a public LLM row, and only if nobody did so since its editor looked:
-- the look at the version and the edit must be one step.
-- ARGV: llm (name), id, version ('' = whichever), fields (JSON of texts, ready to store), stale_ms, expire_ms
-- Returns: {'ok'} · {'unknown'} · {'virtual'} · {'version', the row's} · {'no_secret', name}
local llm, id, version, fields = ARGV[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4])
local now = now_ms()
local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'version', 'id', 'status', 'inactiveSince', 'session')
if row[3] ~= id then return { 'unknown' } end
if row[1] ~= 'public' then
  local _, _, gone = seen('llm:' .. llm, row[4], row[5], row[6], now, tonumber(ARGV[5]), tonumber(ARGV[6]))
  return { gone and 'unknown' or 'virtual' }
end
if version ~= '' and version ~= row[2] then return { 'version', row[2] } end
if not has_secret(fields.apiKeyRef) then return { 'no_secret', fields.apiKeyRef } end
fill(llm, fields)
call('HINCRBY', P .. 'llm:' .. llm, 'version', 1)
call('HSET', P .. 'llm:' .. llm, 'updatedAt', int(now))
emit('llm.edited', llm, '')
return { 'ok' }
