#!lua flags=allow-oom
-- What falls due of jobs: they wait again, their deadline is over, their attempt is stuck or was lost, their time is over.
-- Every replica calls it; whoever comes first does it.
-- ARGV: limit, attempt_ms, idle_ms, accept_ms, result_ms
-- Returns: how many things were done
local limit, attempt_ms, idle_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local accept_ms, result_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local timers = P .. 'job-timers'

-- An attempt must go on saying something, and end. One that Redis lost is no attempt any more.
local function look_at(j)
  if j.state ~= 'running' then return call('ZREM', timers, 's:' .. j.id) end
  local tid, began = string.match(j.attempt, '^([^\t]*)\t(%d+)$')
  local t = call('HMGET', P .. 'task:' .. tid, 'keep', 'state', 'started', 'reply')
  if not t[1] then
    return job_ended(j.id, tid, 503, 'broker_restarted', 'the broker\'s Redis lost this attempt')
  end
  if t[2] == 'waiting' then return call('ZADD', timers, int(now + idle_ms), 's:' .. j.id) end
  local over = tonumber(t[3] or began) + attempt_ms
  local last = call('XREVRANGE', P .. 'kept:' .. tid, '+', '-', 'COUNT', 1)[1]
  local silent = last and last[2][1] == 'p' and tonumber(string.match(last[1], '^%d+')) + idle_ms
  if over > now and not (silent and silent <= now) then
    return call('ZADD', timers, int(math.min(over, silent or over, now + idle_ms)), 's:' .. j.id)
  end
  if over <= now then
    tell(t[4], tid, failure(504, 'deadline_exceeded', 'the attempt took too long'))
  else
    tell(t[4], tid, failure(504, 'stream_stalled', 'the backend sent nothing for too long in the middle of its answer'))
  end
  cancel(tid, 'deadline', accept_ms)
end

local due = call('ZRANGEBYSCORE', timers, '-inf', int(now), 'LIMIT', 0, limit)
for _, member in ipairs(due) do
  local kind, id = string.match(member, '^(%a):(.*)$')
  local j = job_of(id)
  if not j then
    call('ZREM', timers, member)
  elseif kind == 's' then
    look_at(j)
  elseif kind == 'x' then
    drop_job(j)
  else
    call('ZREM', timers, member)
    if j.state == 'queued' and kind == 'r' then
      join_queue(j, true)
    elseif j.state == 'queued' then
      leave_queue(j)
      call('HSET', j.key, 'e', 'deadline_exceeded\tthe task was not done before its deadline')
      end_job(j, 'dead', now, result_ms)
    end
  end
end
return #due
