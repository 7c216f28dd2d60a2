#!lua flags=no-writes
-- Reads a request body that was too large for its frame.
-- ARGV: sid, owner, tid
-- Returns: the body, or false when the task is not this session's
local sid, owner, tid = ARGV[1], ARGV[2], ARGV[3]
if call('HGET', P .. 'session:' .. sid, 'owner') ~= owner then return false end
local t = call('HMGET', P .. 'task:' .. tid, 'session', 'body')
if t[1] ~= sid then return false end
return t[2]
