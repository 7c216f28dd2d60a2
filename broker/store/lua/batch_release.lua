#!lua flags=allow-oom
-- Gives a batch back, for another replica to go on with at once.
-- ARGV: id, epoch
-- Returns: 'ok'
if call('HGET', P .. 'batch:' .. ARGV[1], 'epoch') == ARGV[2] then call('ZADD', P .. 'batches', 'XX', 0, ARGV[1]) end
return 'ok'
