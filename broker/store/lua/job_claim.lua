#!lua flags=allow-oom
-- Lets queued jobs begin where a slot is free and nobody waits. A claim and the task that it makes must be one step, or a
-- replica that dies between the two would leave a job that nobody runs, or that two run.
-- ARGV: settings (JSON; shared/attempts.lua), replica, limit, calls (1: this replica may call upstreams)
-- Returns: {how many began, 1 when there may be more, 1 when any are queued, …}, then for each that the replica is to go on with
--          {'public', owner, operation, streaming, body, and what `begin_attempt` says} ·
--          {'persona', id, target, operation, streaming, body} (to be given to job_start within 10 s)
local a, replica, limit, calls = cjson.decode(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local now = now_ms()
local said = { 0, 0, 0 }

-- Whether a job began or left its queue for another reason.
local function moved(id, target)
  local j = job_of(id)
  if not j or j.state ~= 'queued' then
    leave_queue(j or { id = id, target = target, priority = 'batch' })
    return true
  end
  if j.deadline and j.deadline <= now then
    leave_queue(j)
    call('HSET', j.key, 'e', 'deadline_exceeded\tthe task was not done before its deadline')
    end_job(j, 'dead', now, a.resultMs)
    return true
  end
  local s = seat_for(target, call('HGET', j.key, 'f') or '', now, a)
  local how = s and (calls or not s.public) and way_in(j, s)
  if not how then return false end
  said[1] = said[1] + 1
  local streaming = j.streaming and 1 or 0
  local body = call('HGET', j.key, 'b')
  if s.persona then
    leave_queue(j, true)
    call('ZADD', P .. 'job-timers', int(now + 10000), 'r:' .. id)
    said[#said + 1] = { 'persona', id, target, j.operation, streaming, body }
    return true
  end
  local call_it = begin_attempt(j, s, how, body, replica, now, a)
  if call_it then said[#said + 1] = { 'public', j.owner, j.operation, streaming, body, unpack(call_it) } end
  return true
end

-- Lets jobs of one queue begin; false when the limit was reached. Those behind the first may be able to begin where it is not:
-- it must not wake, or was failed by who is there.
local function serve_queue(target)
  while said[1] < limit do
    local any = false
    for _, id in ipairs(call('ZRANGE', P .. 'queue:' .. target, 0, 4)) do
      if moved(id, target) then
        any = true
        break
      end
    end
    if not any then
      rest_queue(target, now + a.pollMs)
      return true
    end
  end
  return false
end

local due = call('ZRANGEBYSCORE', P .. 'queues', '-inf', int(now), 'LIMIT', 0, 20)
if #due == 20 then said[2] = 1 end
for _, target in ipairs(due) do
  if not serve_queue(target) then
    said[2] = 1
    break
  end
end
said[3] = call('EXISTS', P .. 'queues')
return said
