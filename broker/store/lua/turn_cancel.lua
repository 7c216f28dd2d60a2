#!lua flags=allow-oom
-- Asks for the end of a turn that runs: its replica hears it when it next writes or looks, and ends it with what it has.
-- ARGV: thread, owner, turn
-- Returns: {'unknown'} · {'no_turn'} · {'ended'} (long ago) · {'ok', token}
local key = P .. 'thread:' .. ARGV[1]
local t = call('HMGET', key, 'owner', 'turns', 'running', 'runningIndex')
if t[1] ~= ARGV[2] then return { 'unknown' } end
local turn = tonumber(ARGV[3])
if turn < 1 or turn > tonumber(t[2]) then return { 'no_turn' } end
if t[3] == '' or tonumber(t[4]) ~= turn then return { 'ended' } end
call('HSET', key, 'cancel', '1')
return { 'ok', t[3] }
