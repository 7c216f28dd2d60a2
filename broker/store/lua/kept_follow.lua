#!lua
-- A client at this replica follows a kept task. Must be one step with the look whether it still runs, or its end could
-- come between, and the replica would be kept as a follower of nothing.
-- ARGV: tid, owner, replica
-- Returns: 'unknown' (or another owner's) · 'live' · 'ended'
local tid, owner, replica = ARGV[1], ARGV[2], ARGV[3]
local first = call('XRANGE', P .. 'kept:' .. tid, '-', '+', 'COUNT', 1)[1]
if not first or first[2][2] ~= owner then return 'unknown' end
if call('HEXISTS', P .. 'task:' .. tid, 'keep') == 0 then return 'ended' end
call('SADD', P .. 'followers:' .. tid, replica)
call('SADD', P .. 'asked:' .. replica, tid)
call('ZREM', P .. 'timers', 'orphan:' .. tid)
return 'live'
