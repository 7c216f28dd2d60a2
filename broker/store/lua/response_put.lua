#!lua
-- Keeps a response. One step, so that no row is ever without its end; the first to come is kept, for the same reply, read
-- twice, is the same response.
-- ARGV: id, owner, ttl_ms, created (s), previous ('' for none), job ('' for one that has ended), input (JSON array of
--       items), answer (the response, JSON: as it ended, or as it begins)
-- Returns: 1 · 0 (it was there)
local key = P .. 'response:' .. ARGV[1]
if call('EXISTS', key) == 1 then return 0 end
call('HSET', key, 'owner', ARGV[2], 'created', ARGV[4], 'previous', ARGV[5], 'job', ARGV[6], 'input', ARGV[7],
  'answer', ARGV[8], 'ended', ARGV[6] == '' and '1' or '0')
call('PEXPIRE', key, ARGV[3])
return 1
