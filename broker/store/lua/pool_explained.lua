#!lua flags=no-writes
-- What was decided for a request to a pool, one text for each attempt.
-- ARGV: request
-- Returns: the texts, in order
return call('LRANGE', P .. 'explain:' .. ARGV[1], 0, -1)
