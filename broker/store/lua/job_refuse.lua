#!lua flags=allow-oom
-- Ends a claimed job of which no request can be made. Not when another claimed it meanwhile.
-- ARGV: id, code, message, result_ms
-- Returns: 'ok'
local j = job_of(ARGV[1])
if not j or j.state ~= 'queued' then return 'ok' end
leave_queue(j)
-- The next may begin in its place.
rest_queue(j.target, 0)
call('HSET', j.key, 'e', ARGV[2] .. '\t' .. ARGV[3])
end_job(j, 'failed', now_ms(), tonumber(ARGV[4]))
return 'ok'
