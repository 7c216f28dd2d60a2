-- Jobs: work that is kept until it is done. A job waits in the queue of what it asks for (a zset as a line, shared/lines.lua,
-- with the same fairness), and is tried in attempts, each of which is a kept task. `job_ended` is called by the
-- script that ends such a task, so no process has to live for a job to come to its end.
-- job:<id> holds  s state · m what was asked (`job_of` reads it) · b body · i attempts ever · n attempts that count ·
--   x the one under way · a those that ended · f LLMs that failed it · t its bounds · r the attempt whose answer is the
--   result · e why it ended without one · u when it ended · w webhook · y tries of that · v what became of it

-- A job as the scripts decide by it; nil for none.
local function job_of(id)
  local j = call('HMGET', P .. 'job:' .. id, 's', 'm', 'x', 'n', 't', 'f')
  if not j[1] then return nil end
  local made, deadline, priority, operation, streaming, may_wake, target, owner =
    string.match(j[2], '^(%d+)\n(%d*)\n(%a+)\n(%a+)\n(%d)\n(%d)\n([^\n]*)\n(.*)$')
  return {
    id = id, key = P .. 'job:' .. id, state = j[1], made = made, deadline = tonumber(deadline), priority = priority,
    operation = operation, streaming = streaming == '1', may_wake = may_wake == '1', target = target, owner = owner,
    attempt = j[3], tries = tonumber(j[4] or '0'), bounds = j[5] or '', left_out = j[6] or '',
  }
end

-- Lets a job wait; one that waits `again` does so before all others of its class.
local function join_queue(j, again)
  local tags = P .. 'queue-tags:' .. j.target
  local tag = tonumber(call('HGET', tags, '\1') or '0')
  if not again then
    tag = math.max(tag, tonumber(call('HGET', tags, j.owner) or '0')) + 1
    call('HSET', tags, j.owner, int(tag))
  end
  local arrival = call('INCR', P .. 'arrivals') % STEP
  call('ZADD', P .. 'queue:' .. j.target, int((tag + HEAD_START[j.priority]) * STEP + arrival), j.id)
  call('ZADD', P .. 'queues', 'NX', 0, j.target)
  call('INCR', P .. 'jobs-queued')
end

-- Takes a job out of its queue; if its turn has come (`served`) the clock moves on. With the last one all goes that the
-- queue knew.
local function leave_queue(j, served)
  local queue, tags = P .. 'queue:' .. j.target, P .. 'queue-tags:' .. j.target
  local score = call('ZSCORE', queue, j.id)
  if not score then return end
  call('ZREM', queue, j.id)
  call('DECR', P .. 'jobs-queued')
  if call('EXISTS', queue) == 0 then
    call('DEL', tags)
    call('ZREM', P .. 'queues', j.target)
    if call('EXISTS', P .. 'queues') == 0 then call('DEL', P .. 'jobs-queued') end
  elseif served then
    local tag = math.floor(tonumber(score) / STEP) - HEAD_START[j.priority]
    if tag > tonumber(call('HGET', tags, '\1') or '0') then call('HSET', tags, '\1', int(tag)) end
  end
end

-- Lets the claimers look at a queue again from that time on (ms; 0: at once).
local function rest_queue(target, until_ms)
  call('ZADD', P .. 'queues', 'XX', int(until_ms), target)
end

-- A slot is free soon that a queue's job had: not for that queue alone, for another may come down to the same LLM. So the one
-- that is to be looked at next anyhow is looked at first, now.
local function free_queues(target, now)
  local other = call('ZRANGEBYSCORE', P .. 'queues', '(' .. int(now), int(now + 500), 'LIMIT', 0, 1)[1]
  if other then rest_queue(other, 0) end
  if other ~= target then rest_queue(target, now) end
end

-- Ends a job, of which is known for `result_ms` more. One that cannot be tried again needs its request no more.
local function end_job(j, state, now, result_ms)
  call('HSET', j.key, 's', state, 'u', int(now))
  call('HDEL', j.key, 'x', 't', 'f')
  if state == 'done' or state == 'cancelled' then call('HDEL', j.key, 'b') end
  call('ZREM', P .. 'job-timers', 's:' .. j.id, 'd:' .. j.id, 'r:' .. j.id)
  call('ZADD', P .. 'job-timers', int(now + result_ms), 'x:' .. j.id)
  if call('HEXISTS', j.key, 'w') == 1 then
    call('HDEL', j.key, 'y', 'v')
    call('ZADD', P .. 'hooks', int(now), j.id)
  end
end

-- Forgets a job and what was answered to it.
local function drop_job(j)
  for tid in string.gmatch('\n' .. (call('HGET', j.key, 'a') or ''), '\n([^\t\n]+)\t') do call('DEL', P .. 'kept:' .. tid) end
  call('DEL', j.key)
  call('ZREM', P .. 'jobs-of:' .. j.owner, j.id)
  call('ZREM', P .. 'job-timers', 's:' .. j.id, 'd:' .. j.id, 'r:' .. j.id, 'x:' .. j.id)
  call('ZREM', P .. 'hooks', j.id)
end

-- Gives up a job that was not done in time.
local function end_late(j, now, result_ms)
  call('HSET', j.key, 'e', 'deadline_exceeded\tthe task was not done before its deadline')
  end_job(j, 'dead', now, result_ms)
end

-- Text of others as one field of what is told of an attempt.
local function one_field(text, most)
  return string.sub(string.gsub(text, '%c', ' '), 1, most)
end

-- Whether an attempt that ended like that may be followed by another: not where the next would fail alike. One whose LLM fell
-- asleep, and which may not wake it, waits with the next until somebody else does.
local function worth_another(status, code)
  return code == 'wake_forbidden' or (status >= 500 or status == 429 or code == 'cancelled')
    and code ~= 'upstream_forbidden' and code ~= 'secret_unreadable' and code ~= 'max_iterations'
end

-- Lets the pools that an LLM is in learn how it did with an attempt: asked at `began`, `called` when a replica called it.
local function judge(llm, tid, began, now, status, code, called)
  if call('EXISTS', P .. 'pools-of:' .. llm) == 0 then return end
  -- As of requests to pools (broker/relay/pooled.py).
  local faults = {
    backend_unreachable = true, backend_error = true, publisher_error = true, upstream_unreachable = true, stream_stalled = true,
  }
  if faults[code] or (code == '' and (status == 429 or status >= 500)) then return failed_once(llm, now) end
  if code ~= '' then return end
  answered_once(llm, tid, began, now)
  -- Of those at publishers `promote` learns it.
  if called then learn_speed(llm, now - began) end
end

-- Whether an attempt stands in a line of requests: itself, or the first ask of a loop. Also its LLM.
local function in_line(tid)
  local t = call('HMGET', P .. 'task:' .. tid, 'state', 'llm', 'loop')
  local state = t[3] and call('HGET', P .. 'task:' .. tid .. '.ask', 'state') or t[1]
  return state == 'waiting', t[2] or ''
end

-- The end of a job's attempt, by whatever ended its task; that is still there to be read. Only the attempt under way
-- counts, so a job has one end.
local function job_ended(id, tid, status, code, message)
  local t = call('HMGET', P .. 'task:' .. tid, 'state', 'llm', 'loop')
  if t[3] then call('ZREM', P .. 'loops:' .. t[2], tid) end
  local j = job_of(id)
  if not j or j.state ~= 'running' then return end
  local began = string.match(j.attempt, '^[^\t]*\t(%d+)$')
  if string.match(j.attempt, '^[^\t]*') ~= tid then return end
  local now = now_ms()
  local most, backoff_ms, result_ms = string.match(j.bounds, '^(%d+) (%d+) (%d+)$')
  local llm = t[2] and string.sub(t[2], 1, 1) ~= '\1' and t[2] or ''
  local late = j.deadline and j.deadline <= now
  -- One that never left the line of requests has not been tried.
  if t[1] == 'waiting' and code ~= 'wake_failed' then
    if code == 'request_cancelled' then return end_job(j, 'cancelled', now, result_ms) end
    if late then return end_late(j, now, result_ms) end
    call('HINCRBY', j.key, 'n', -1)
    call('HSET', j.key, 's', 'queued')
    call('HDEL', j.key, 'x')
    call('ZREM', P .. 'job-timers', 's:' .. id)
    return join_queue(j, true)
  end
  local told = { tid, llm, began, int(now), int(status), one_field(code, 64), one_field(message, 300) }
  call('HSET', j.key, 'a', (call('HGET', j.key, 'a') or '') .. table.concat(told, '\t') .. '\n')
  free_queues(j.target, now)
  judge(llm, tid, tonumber(began), now, status, code, t[1] == 'upstream' and not t[3])
  if code == '' and not worth_another(status, code) then
    call('HSET', j.key, 'r', tid)
    return end_job(j, status < 400 and 'done' or 'failed', now, result_ms)
  end
  if code == 'request_cancelled' then return end_job(j, 'cancelled', now, result_ms) end
  if not worth_another(status, code) then return end_job(j, 'failed', now, result_ms) end
  if late or j.tries >= tonumber(most) then return end_job(j, 'dead', now, result_ms) end
  local due = now + math.min(60000, tonumber(backoff_ms) * 2 ^ (j.tries - 1))
  if llm ~= '' then call('HSET', j.key, 'f', (j.left_out == '' and '\n' or j.left_out) .. llm .. '\n') end
  if code == 'wake_failed' then rest_queue(j.target, due) end
  call('HSET', j.key, 's', 'queued')
  call('HDEL', j.key, 'x')
  call('ZREM', P .. 'job-timers', 's:' .. id)
  call('ZADD', P .. 'job-timers', int(due), 'r:' .. id)
end

-- A job as it is told to others: twelve values, broker/store/jobs.py reads them; nil for none.
local function told_job(id)
  local j = call('HMGET', P .. 'job:' .. id, 's', 'm', 'x', 'a', 'u', 'r', 'e', 'w', 'v')
  if not j[1] then return nil end
  local state, place, due, attempt = j[1], '', '', j[3] or ''
  local target = string.match(j[2], '^%d+\n%d*\n%a+\n%a+\n%d\n%d\n([^\n]*)\n')
  if state == 'queued' then
    local rank = call('ZRANK', P .. 'queue:' .. target, id)
    place = rank and int(rank + 1) or ''
    due = not rank and call('ZSCORE', P .. 'job-timers', 'r:' .. id) or ''
  elseif state == 'running' then
    local waits, llm = in_line(string.match(attempt, '^[^\t]*'))
    if waits then
      -- It is the first, and waits in the line of requests for a slot, or a wake.
      state, place, attempt = 'queued', '0', ''
    else
      attempt = attempt .. '\t' .. llm
    end
  end
  return { id, state, j[2], attempt, j[4] or '', j[5] or '', j[6] or '', j[7] or '', j[8] or '', j[9] or '', place, due }
end
