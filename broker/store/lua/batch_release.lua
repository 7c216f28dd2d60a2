#!lua flags=allow-oom
-- Gives a batch back, for another replica to go on with at once.
-- ARGV: id, epoch, behind (1: those that wait already come first)
-- Returns: 'ok'
if call('HGET', P .. 'batch:' .. ARGV[1], 'epoch') == ARGV[2] then call('ZADD', P .. 'batches', 'XX', ARGV[3] == '1' and int(now_ms()) or 0, ARGV[1]) end
return 'ok'
