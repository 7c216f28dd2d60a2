#!lua flags=allow-oom
-- Renews a lease and tells how far the batch is. A cancel that came meanwhile stays, and is told.
-- ARGV: id, epoch, lease_ms, status ('' as it is), then fields and values
-- Returns: 'lost' (another epoch has it, or it is over) · its status
local id, key = ARGV[1], P .. 'batch:' .. ARGV[1]
local b = call('HMGET', key, 'epoch', 'status')
if b[1] ~= ARGV[2] or not call('ZSCORE', P .. 'batches', id) then return 'lost' end
call('ZADD', P .. 'batches', int(now_ms() + tonumber(ARGV[3])), id)
if ARGV[4] ~= '' and b[2] ~= 'cancelling' then
  b[2] = ARGV[4]
  call('HSET', key, 'status', b[2])
end
if #ARGV > 4 then call('HSET', key, unpack(ARGV, 5)) end
return b[2]
