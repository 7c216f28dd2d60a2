#!lua flags=allow-oom
-- Cancels a job wherever it is: in its queue, between two attempts, or while one runs. One step with the look at where that
-- is, or an attempt could begin between the two.
-- ARGV: id, owner ('' = an admin's), accept_ms, result_ms
-- Returns: 'gone' (none of that owner's) · 'cancelled' · the state in which it ended before
local id, owner = ARGV[1], ARGV[2]
local j = job_of(id)
if not j or (owner ~= '' and j.owner ~= owner) then return 'gone' end
if j.state == 'queued' then
  leave_queue(j)
  end_job(j, 'cancelled', now_ms(), tonumber(ARGV[4]))
  return 'cancelled'
end
if j.state ~= 'running' then return j.state end
end_attempt(j, 499, 'request_cancelled', 'the task was cancelled by DELETE /api/v1/tasks', 'cancelled', tonumber(ARGV[3]))
return 'cancelled'
