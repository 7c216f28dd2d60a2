#!lua
-- Gives a thread another title, if it is still there: a thread that was deleted must not come back as a title.
-- ARGV: id, owner, title
-- Returns: 'ok' · 'unknown'
local key = P .. 'thread:' .. ARGV[1]
if call('HGET', key, 'owner') ~= ARGV[2] then return 'unknown' end
call('HSET', key, 'title', ARGV[3], 'updatedAt', int(now_ms()))
return 'ok'
