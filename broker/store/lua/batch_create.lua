#!lua
-- Takes a batch in: its row, its place in its owner's list, and among those that wait for a replica to run them. Its input
-- is there until a day after its window, whatever was said when it was uploaded.
-- ARGV: id, owner, endpoint, input (file), created_s, expires_s, metadata (JSON), ttl_ms (of its place in the list), most
--       (unfinished batches of one owner), window (as it was asked for), wake (1: its lines may wake), lasts_s (its files)
-- Returns: 'ok' · 'full' · 'unknown' (no such file of that owner's)
local id, owner, file = ARGV[1], ARGV[2], P .. 'file:' .. ARGV[4]
local f = call('HMGET', file, 'owner', 'expires')
if f[1] ~= owner then return 'unknown' end
local mine = 0
for _, other in ipairs(call('ZRANGE', P .. 'batches', 0, 999)) do
  if call('HGET', P .. 'batch:' .. other, 'owner') == owner then mine = mine + 1 end
end
if mine >= tonumber(ARGV[9]) or call('ZCARD', P .. 'batches') >= 1000 then return 'full' end
call('HSET', P .. 'batch:' .. id, 'id', id, 'owner', owner, 'endpoint', ARGV[3], 'input', ARGV[4], 'created', ARGV[5],
  'expires', ARGV[6], 'metadata', ARGV[7], 'window', ARGV[10], 'wake', ARGV[11],
  'lasts', ARGV[12], 'status', 'validating', 'epoch', 0, 'total', 0, 'completed', 0, 'failed', 0)
local needed_s = tonumber(ARGV[6]) + 86400
if tonumber(f[2]) < needed_s then keep_file(ARGV[4], owner, ARGV[5], needed_s) end
call('ZADD', P .. 'batches', 0, id)
index_row(P .. 'batches-of:' .. owner, id, tonumber(ARGV[8]))
return 'ok'
