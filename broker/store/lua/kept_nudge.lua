#!lua flags=allow-oom
-- Ends a replica's blocking read of kept replies, for there are more to read. One step, so that no key stays without a TTL.
-- ARGV: replica, ttl_ms
-- Returns: 'ok'
call('XADD', P .. 'nudges:' .. ARGV[1], 'MAXLEN', 1, '*', 'n', '1')
call('PEXPIRE', P .. 'nudges:' .. ARGV[1], ARGV[2])
return 'ok'
