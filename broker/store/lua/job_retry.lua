#!lua
-- Lets a job that failed, or was given up, be tried anew, with its earlier attempts still told. One step with the look at its
-- state, or it would be queued twice.
-- ARGV: id, owner ('' = an admin's)
-- Returns: 'gone' · 'again' · 'late' (its deadline is over) · the state it is in, of which there is no retry
local j = job_of(ARGV[1])
if not j or (ARGV[2] ~= '' and j.owner ~= ARGV[2]) then return 'gone' end
if j.state ~= 'dead' and j.state ~= 'failed' then return j.state end
if j.deadline and j.deadline <= now_ms() then return 'late' end
call('HSET', j.key, 's', 'queued', 'n', 0)
call('HDEL', j.key, 'u', 'r', 'e', 'y', 'v')
call('ZREM', P .. 'job-timers', 'x:' .. j.id)
call('ZREM', P .. 'hooks', j.id)
if j.deadline then call('ZADD', P .. 'job-timers', int(j.deadline), 'd:' .. j.id) end
join_queue(j)
-- Who may have been away for long has all the time again.
call('HDEL', P .. 'queue-tags:' .. j.target, '\2')
return 'again'
