#!lua flags=allow-oom
-- Forgets a file; its bytes go after.
-- ARGV: id, owner
-- Returns: 1 · 0 (none of that owner's)
local key = P .. 'file:' .. ARGV[1]
if call('HGET', key, 'owner') ~= ARGV[2] then return 0 end
call('DEL', key)
call('ZREM', P .. 'files-of:' .. ARGV[2], ARGV[1])
return 1
