#!lua
-- Changes the given fields of a pool's row, and only if nobody did so since its editor looked: the look at the version and
-- the edit must be one step. The order of a pool in use is built anew, for who waits in its line is served by it.
-- ARGV: name, version ('' = whichever), fields (JSON of texts, ready to store), accept_ms
-- Returns: {'ok'} · {'unknown'} · {'version', the row's}
local name, version, fields = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local key, pool = P .. 'pool:' .. name, 'p:' .. name
local row = call('HGET', key, 'version')
if not row then return { 'unknown' } end
if version ~= '' and version ~= row then return { 'version', row } end
for field, value in pairs(fields) do call('HSET', key, field, value) end
call('HINCRBY', key, 'version', 1)
call('HSET', key, 'updatedAt', int(now_ms()))
local left_ms = call('PTTL', P .. 'order-load:' .. pool)
if left_ms > 0 then
  forget_pool(pool)
  use_pool(pool, left_ms - POOL_TTL_MS)
  local now = now_ms()
  for _, llm in ipairs(call('ZRANGEBYSCORE', P .. 'order:' .. pool, '-inf', '(' .. int(FULL))) do
    if call('EXISTS', P .. 'waiting:' .. line_of_pool(pool)) == 0 then break end
    promote(llm, now, tonumber(ARGV[4]))
  end
  tend({ pool }, failure(503, 'publisher_offline', 'the pool was edited, and nobody in it can answer now'), now)
end
emit('pool.edited', name, '')
return { 'ok' }
