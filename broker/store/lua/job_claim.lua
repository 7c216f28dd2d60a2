#!lua flags=allow-oom
-- Lets queued jobs begin where a slot is free and nobody waits, and ends those that nobody was there for, for too long. A
-- claim and the task that it makes must be one step, or a replica that dies between the two would leave a job that nobody
-- runs, or that two run.
-- ARGV: settings (JSON; shared/attempts.lua), replica, limit (of jobs that leave their queues), calls (to upstreams that
--       this replica may begin)
-- Returns: {how many began, 1 when there may be more, 1 when any are queued, …}, then for each that the replica is to go on with
--          {'public', owner, operation, streaming, body, and what `begin_attempt` says} ·
--          {'persona', id, target, operation, streaming, body} (to be given to job_start within 10 s)
local a, replica, limit, calls = cjson.decode(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_ms()
local said, moves = { 0, 0, 0 }, 0
-- Targets for which somebody was found to be there.
local there = {}

-- Somebody is there for a queue, so the clock stops that runs while nobody is.
local function found(target)
  if not there[target] then call('HDEL', P .. 'queue-tags:' .. target, '\2') end
  there[target] = true
end

local function sleeps(s)
  return s.is == 'asleep' or s.is == 'away' and s.band == ASLEEP
end

-- Why nobody is there to do a job, sooner or later: a code and a text; nil where somebody is. Who is broken or full is there.
local function nobody_for(j, s)
  local name = "'" .. j.target .. "'"
  if not s then return 'target_gone', 'there was no ' .. name .. ', or nobody who answers for it,' end
  if sleeps(s) and not j.may_wake and call('EXISTS', P .. 'wake:' .. s.llm) == 0 then
    return 'wake_forbidden', name .. ' slept, and this task may not wake it,'
  end
  if s.is == 'away' and s.band ~= BROKEN then return 'publisher_offline', name .. ' was away' end
end

-- Ends a job that nobody was there for, for too long. A queue's clock runs from when that was first seen, and each job's not
-- before it was made; after an outage of all brokers publishers need a while to come back.
local function give_up(j, s)
  local code, why = nobody_for(j, s)
  if not code then
    found(j.target)
    return false
  end
  local tags = P .. 'queue-tags:' .. j.target
  call('HSETNX', tags, '\2', int(now))
  local since = math.max(tonumber(call('HGET', tags, '\2')), j.made / 1000)
  local watched = tonumber(call('HGET', P .. 'pulse', 'since') or now)
  if since + a.orphanMs > now or watched + a.settleMs > now then return false end
  leave_queue(j)
  call('HSET', j.key, 'e', code .. '\t' .. why .. ' for ' .. math.floor(a.orphanMs / 1000) .. ' s (BROKER_JOB_ORPHAN_SECONDS)')
  end_job(j, 'dead', now, a.resultMs)
  return true
end

-- Agents' jobs have no lease until they start, but the slots that they are to have are theirs: how many at each LLM.
local promised = {}

-- Whether there is one in this queue that sleeps on because who is first must not wake it.
local sleeps_on = false

-- Whether a job began or left its queue for another reason.
local function moved(id, target)
  local j = job_of(id)
  if not j or j.state ~= 'queued' then
    leave_queue(j or { id = id, target = target, priority = 'batch' })
    return true
  end
  if j.deadline and j.deadline <= now then
    leave_queue(j)
    end_late(j, now, a.resultMs)
    return true
  end
  if sleeps_on and not j.may_wake then return false end
  local s = seat_for(target, j, now, a)
  local how = s and (calls > 0 or not s.public) and way_in(j, s, now)
  if not how then
    sleeps_on = s and sleeps(s) and not j.may_wake
    return give_up(j, s)
  end
  found(target)
  local taken = promised[s.llm] or 0
  if taken > 0 and (how == 'line' or s.room <= taken) then return false end
  said[1] = said[1] + 1
  local streaming = j.streaming and 1 or 0
  local body = call('HGET', j.key, 'b')
  if s.persona then
    leave_queue(j, true)
    call('ZADD', P .. 'job-timers', int(now + 10000), 'r:' .. id)
    said[#said + 1] = { 'persona', id, target, j.operation, streaming, body }
    promised[s.llm] = taken + 1
    return true
  end
  local call_it = begin_attempt(j, s, how, body, replica, now, a)
  if call_it then
    calls = calls - 1
    said[#said + 1] = { 'public', j.owner, j.operation, streaming, body, unpack(call_it) }
  end
  return true
end

local function any_moved(target, from, to)
  for _, id in ipairs(call('ZRANGE', P .. 'queue:' .. target, from, to)) do
    if moved(id, target) then return true end
  end
  return false
end

-- Lets jobs of one queue begin, or end; false when the limit was reached. Those behind the first may be able to begin where
-- it is not: it was failed by who is there, or must not wake, which may be so of many.
local function serve_queue(target)
  while moves < limit do
    sleeps_on = false
    if not any_moved(target, 0, 4) and not (sleeps_on and any_moved(target, 5, 199)) then
      rest_queue(target, now + a.pollMs)
      return true
    end
    moves = moves + 1
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
