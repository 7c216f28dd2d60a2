#!lua flags=allow-oom
-- What falls due of jobs: they wait again, their deadline is over, their attempt is stuck or was lost, their time is over.
-- Every replica calls it; whoever comes first does it.
-- ARGV: limit, attempt_ms, idle_ms, accept_ms, result_ms
-- Returns: how many things were done
local limit, attempt_ms, idle_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local accept_ms, result_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local timers = P .. 'job-timers'

-- An attempt must go on saying something, and end. One that waits for a pool's member other than those that failed it has
-- nobody to wait for when that one fails too.
local function look_at(j)
  if j.state ~= 'running' then return call('ZREM', timers, 's:' .. j.id) end
  local tid, began = string.match(j.attempt, '^([^\t]*)\t(%d+)$')
  local t = call('HMGET', P .. 'task:' .. tid, 'keep', 'state', 'started', 'llm', 'loop')
  if not t[1] then return end_attempt(j, 503, 'broker_restarted', 'the broker\'s Redis lost this attempt', '', accept_ms) end
  if in_line(tid) then
    call('ZADD', timers, int(now + idle_ms), 's:' .. j.id)
    -- A loop's time begins when its first ask has left the line.
    if t[5] then return call('HSET', P .. 'task:' .. tid, 'started', int(now)) end
    if string.sub(t[4], 1, 1) ~= '\1' then return end
    return tend({ string.sub(t[4], 2) }, failure(503, 'publisher_offline', 'nobody else serves this pool now'), now)
  end
  local over = tonumber(t[3] or began) + attempt_ms
  local last = call('XREVRANGE', P .. 'kept:' .. tid, '+', '-', 'COUNT', 1)[1]
  -- In a loop silence may be a tool at work; each of its asks has limits of its own.
  local silent = not t[5] and last and last[2][1] == 'p' and tonumber(string.match(last[1], '^%d+')) + idle_ms
  if over > now and not (silent and silent <= now) then
    return call('ZADD', timers, int(math.min(over, silent or over, now + idle_ms)), 's:' .. j.id)
  end
  if over <= now then return end_attempt(j, 504, 'deadline_exceeded', 'the attempt took too long', 'deadline', accept_ms) end
  local text = 'the backend sent nothing for too long in the middle of its answer'
  end_attempt(j, 504, 'stream_stalled', text, 'deadline', accept_ms)
end

-- A job's own deadline, wherever it is.
local function time_out(j)
  if j.state == 'running' then
    end_attempt(j, 504, 'deadline_exceeded', 'the task was not done before its deadline', 'deadline', accept_ms)
  elseif j.state == 'queued' then
    leave_queue(j)
    end_late(j, now, result_ms)
  end
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
    if kind == 'd' then
      time_out(j)
    elseif j.state == 'queued' then
      join_queue(j, true)
    end
  end
end
return #due
