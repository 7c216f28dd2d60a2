#!lua flags=allow-oom
-- Gives a replica a batch that nobody runs, under a lease: the oldest lease that is over. Each claim is an epoch, so that
-- one who was taken for dead cannot write any more.
-- ARGV: lease_ms
-- Returns: {} · the fields and values of its row
local now = now_ms()
local id = call('ZRANGEBYSCORE', P .. 'batches', '-inf', int(now), 'LIMIT', 0, 1)[1]
if not id then return {} end
local key = P .. 'batch:' .. id
if call('EXISTS', key) == 0 then
  call('ZREM', P .. 'batches', id)
  return {}
end
call('HINCRBY', key, 'epoch', 1)
call('ZADD', P .. 'batches', int(now + tonumber(ARGV[1])), id)
return call('HGETALL', key)
