#!lua flags=no-writes
-- Whether there is a batch that nobody runs.
-- ARGV: none
-- Returns: 1 · 0
return call('ZCOUNT', P .. 'batches', '-inf', int(now_ms())) > 0 and 1 or 0
