#!lua flags=allow-oom
-- Writes how a response in the background ended. Whoever reads it first may do so, and a cancel may come at the same time:
-- the first word counts.
-- ARGV: id, answer (the response as it ended, JSON)
-- Returns: the answer that counts; '' when there is no such response any more
local key = P .. 'response:' .. ARGV[1]
local r = call('HMGET', key, 'ended', 'answer')
if not r[1] then return '' end
if r[1] == '1' then return r[2] end
call('HSET', key, 'ended', '1', 'answer', ARGV[2])
return ARGV[2]
