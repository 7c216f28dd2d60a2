-- Attempts of jobs: where one can be made now, and how it begins. `a` are the claimer's settings (broker/store/claims.py).

-- How an LLM stands towards a job: free · full (or somebody waits) · asleep · away; nil for none of that name.
local function seat_at(llm, now, a)
  local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'status', 'session', 'slots', 'inactiveSince', 'hold')
  if not row[1] then return nil end
  local s = { llm = llm, line = llm, public = row[1] == 'public', sid = row[3], slots = tonumber(row[4]) or 0 }
  local leases = call('ZCOUNT', P .. 'leases:' .. llm, int(now), '+inf')
  if s.public then
    s.room = a.upstreamCalls - leases
    s.is = s.room > 0 and 'free' or 'full'
    return s
  end
  local status, _, gone = seen('llm:' .. llm, row[2], row[5], row[3], now, a.staleMs, a.expireMs)
  if gone then return nil end
  s.slots = math.max(1, s.slots)
  s.room = s.slots - leases
  s.session = session_of(s.sid)
  if status == 'inactive' or not s.session or not s.session.reachable or s.session.leaving then
    s.is = 'away'
  elseif status == 'hibernating' then
    s.is = 'asleep'
  else
    local busy = row[6] == '1' or leases >= s.slots or call('EXISTS', P .. 'waiting:' .. llm) == 1
    s.is = busy and 'full' or 'free'
  end
  return s
end

-- The best of a pool's members that may answer a job, now or when they have a slot; without them the best of the others. Those
-- that are broken are waited for until one may be probed, and sleepers where it may not wake until somebody else does.
local function best_of(found, may_wake)
  weigh(found)
  for _, m in ipairs(found) do
    local waits = m.band == BROKEN or m.band >= AWAY
      or m.band == ASLEEP and not may_wake and call('EXISTS', P .. 'wake:' .. m.llm) == 0
    if not waits then return m, true end
  end
  return found[1], false
end

-- The same of a pool: by its best member, but for those that failed the job while there are others that may answer. A broken one
-- that may be probed comes first. Where all have to be waited for it is away, and its `band` says why. `only_look`: the attempt
-- begins later, and is the probe then.
local function seat_in(key, j, now, a, only_look)
  local left_out = j.left_out
  local found, passed = candidates_of(key, left_out, now, a.staleMs, a.expireMs)
  local best, may_answer = best_of(found, j.may_wake)
  local probe = due_probe(key, left_out, now, a.staleMs, a.expireMs, best, nil, only_look)
  if passed > 0 and not probe and not may_answer then
    left_out = ''
    best, may_answer = best_of(candidates_of(key, '', now, a.staleMs, a.expireMs), j.may_wake)
    probe = due_probe(key, '', now, a.staleMs, a.expireMs, best, nil, only_look)
  end
  best = probe or best
  if not best then return nil end
  local s = { llm = best.llm, line = line_of_pool(key), key = key, left_out = left_out, public = best.kind == 'public', sid = best.sid }
  s.room = (best.slots or a.upstreamCalls) - best.leases
  if not s.public then s.session = session_of(s.sid) end
  s.probe, s.band = probe ~= nil, best.band
  if probe or best.band == 0 and call('EXISTS', P .. 'waiting:' .. s.line, P .. 'waiting:' .. s.llm) == 0 then
    s.is = 'free'
  elseif best.band == 1 then
    s.is = s.room > 0 and 'free' or 'full'
  elseif not may_answer then
    s.is = 'away'
  else
    s.is = best.band == ASLEEP and 'asleep' or 'full'
  end
  return s
end

-- The same of the first pool of that name that has members; `kinds` as pools_asked has them.
local function seat_of(asked, kinds, j, now, a, only_look)
  for _, key in ipairs(pools_asked(asked, kinds)) do
    use_pool(key, a.attemptMs)
    local s = seat_in(key, j, now, a, only_look)
    if s then return s end
  end
end

-- Where a job for `target` could be tried: an LLM of that name, else a pool that it names, else an agent's LLM; nil: nobody
-- of that name is there.
local function seat_for(target, j, now, a)
  local s = seat_at(target, now, a) or seat_of(target, 'apm', j, now, a)
  if s then return s end
  local agent = string.match(target, '^agent/(.+)$')
  local row = agent and call('HMGET', P .. 'agent:' .. agent, 'llm', 'model')
  if row and row[1] then
    s = seat_at(row[1], now, a)
  elseif row and row[2] then
    -- The probe is the attempt, which begins later.
    s = seat_of(row[2], 'pm', j, now, a, true)
  end
  if s then s.persona = true end
  return s
end

-- How many requests of clients an LLM had at once, those in its line included, at most within the last 10 to 20 s; as far as
-- claims saw them, which look many times a second while there is batch work.
local function most_asked(llm, asked, now)
  local load = P .. 'load:' .. llm
  local seen = call('HMGET', load, 'most', 'mostBefore', 'mostSince')
  local most, before, since = tonumber(seen[1]) or 0, tonumber(seen[2]) or 0, tonumber(seen[3]) or 0
  if now - since >= 10000 then
    before = now - since < 20000 and most or 0
    call('HSET', load, 'most', asked, 'mostBefore', before, 'mostSince', int(now))
    most = asked
  elseif asked > most then
    call('HSET', load, 'most', asked)
    most = asked
  end
  return math.max(most, before)
end

-- How many more batch jobs an LLM may have. Were all slots full of them, each request would wait until one ends. So as many
-- slots as clients used lately, and one more, stay free of jobs; but a quarter of the slots, and at least one, is never kept.
local rooms = {}
local function room_for_batch(llm, now)
  if not rooms[llm] then
    local slots = math.max(1, tonumber(call('HGET', P .. 'llm:' .. llm, 'slots')) or 1)
    local jobs, asked = 0, 0
    for _, ids in ipairs({ call('ZRANGEBYSCORE', P .. 'leases:' .. llm, int(now), '+inf'), call('ZRANGE', P .. 'waiting:' .. llm, 0, 63) }) do
      for _, tid in ipairs(ids) do
        if string.sub(tid, 1, 4) == 'job_' then jobs = jobs + 1 else asked = asked + 1 end
      end
    end
    local most = most_asked(llm, asked, now)
    local kept = most > 0 and most + 1 or 0
    rooms[llm] = math.max(1, math.floor(slots / 4), slots - kept) - jobs
  end
  return rooms[llm]
end

-- How a job may go in there: `now`, in `line`, or not yet (nil). Only one of a queue waits in a line of requests: so that it
-- has its turn also where there is always somebody, and that who sleeps is woken. The others do not hold up requests.
local function door_to(j, s)
  if s.is == 'free' then return 'now' end
  if s.public or s.is == 'away' then return nil end
  if s.is == 'asleep' and not j.may_wake and call('EXISTS', P .. 'wake:' .. s.llm) == 0 then return nil end
  local ahead = call('GET', P .. 'queue-ahead:' .. j.target)
  if ahead and call('HGET', P .. 'task:' .. ahead, 'state') == 'waiting' then return nil end
  return 'line'
end

-- The same, with room left for clients by batch work; a probe is taken already.
local function way_in(j, s, now)
  local counts = j.priority == 'batch' and not s.public and not s.probe and (s.is == 'free' or s.is == 'full')
  if counts and room_for_batch(s.llm, now) < 1 then return nil end
  local how = door_to(j, s)
  if how and counts then rooms[s.llm] = rooms[s.llm] - 1 end
  return how
end

-- Ends the attempt of a job that runs, as it would end by itself; its publisher is told the `reason`. One that Redis lost is no
-- attempt any more.
local function end_attempt(j, status, code, message, reason, accept_ms)
  local tid = string.match(j.attempt, '^[^\t]*')
  local t = call('HMGET', P .. 'task:' .. tid, 'keep', 'reply')
  if not t[1] then return job_ended(j.id, tid, status, code, message) end
  tell(t[2], tid, failure(status, code, message))
  cancel(tid, reason, accept_ms)
end

-- Notes that an attempt of a queued job begins, which may take `most_ms`. Returns its tid, its deadline, and when it is over
-- in any case.
local function note_attempt(j, s, most_ms, now, a)
  local tid = j.id .. '.' .. call('HINCRBY', j.key, 'i', 1)
  local deadline = now + most_ms
  if j.deadline and j.deadline < deadline then deadline = j.deadline end
  leave_queue(j, true)
  if s.probe then call('HSET', P .. 'health:' .. s.llm, 'probe', tid) end
  call('HSET', j.key, 's', 'running', 'x', tid .. '\t' .. int(now), 't', a.bounds)
  call('HINCRBY', j.key, 'n', 1)
  call('ZREM', P .. 'job-timers', 'r:' .. j.id)
  call('ZADD', P .. 'job-timers', int(now + a.idleMs), 's:' .. j.id)
  return tid, deadline, deadline + a.leaseGraceMs
end

-- Begins an attempt of a queued job. Returns nil, or what its replica needs to call the upstream: tid, llm, ms until the
-- deadline, type, model, url, secret, sealed, key.
local function begin_attempt(j, s, how, body, replica, now, a)
  local tid, deadline, ends = note_attempt(j, s, how == 'line' and a.lineMs or a.attemptMs, now, a)
  if s.public then
    call('ZADD', P .. 'leases:' .. s.llm, int(ends), tid)
    local target = { tid, s.llm, int(deadline - now), call_upstream(tid, s.llm, replica, j.owner, ends) }
    keep(tid, j.owner, replica, a.keep, ends - now)
    call('HSET', P .. 'task:' .. tid, 'job', j.id)
    rerank(s.llm)
    return target
  end
  local inline = #body <= a.inlineBytes
  local head = '{"kind":"infer","taskId":"' .. tid .. '","llmName":'
  local tail = ',"operation":"' .. j.operation .. '","streaming":' .. (j.streaming and 'true' or 'false')
    .. (inline and ',"request":' .. body or ',"requestUrl":"/api/v1/llms/_provider-task/' .. tid .. '/request"') .. ',"deadlineMs":'
  local whole = head .. cjson.encode(s.llm) .. tail
  local pooled = how == 'line' and s.key
  record(tid, replica, j.owner, pooled and s.line or s.llm, pooled and head or whole, inline and '' or body, deadline, ends, #body)
  keep(tid, j.owner, replica, a.keep, ends - now)
  call('HSET', P .. 'task:' .. tid, 'job', j.id)
  if s.key then call('HSET', P .. 'task:' .. tid, 'asked', j.target) end
  if how == 'now' then
    take_slot(tid, s.llm, s.sid, s.session, now, a.acceptMs, ends, '', whole, deadline)
    return nil
  end
  if pooled then
    call('HSET', P .. 'task:' .. tid, 'tail', tail, 'not', s.left_out)
    if j.may_wake then call('HSET', P .. 'task:' .. tid, 'wakeLimit', int(a.wakeLimitMs)) end
  elseif not j.may_wake then
    call('HSET', P .. 'task:' .. tid, 'noWake', '1')
  end
  call('HSET', P .. 'task:' .. tid, 'span', int(a.attemptMs))
  wait_in(s.line, tid, j.owner, j.priority, #body, s.slots or 1, ends)
  if pooled then call('PEXPIRE', P .. 'load:' .. s.line, int(3600000 + ends - now)) end
  call('SET', P .. 'queue-ahead:' .. j.target, tid, 'PX', int(ends - now))
  if s.is == 'asleep' then start_wake(s.llm, s.sid, s.session, now, a.wakeLimitMs) end
  return nil
end

-- Whether as many loops run at an LLM as it has slots: each asks it now and then, and holds no slot in between.
local function looped_full(s, now, a)
  local slots = tonumber(call('HGET', P .. 'llm:' .. s.llm, 'slots') or '') or 0
  if slots == 0 then slots = s.public and a.upstreamCalls or 1 end
  return call('ZCOUNT', P .. 'loops:' .. s.llm, int(now), '+inf') >= slots
end

-- Begins an attempt of a queued job that is an agent's loop: its replica writes the answer, as that of a public LLM, and asks
-- the LLM by requests of its own. Of these the first may have to wait, like any attempt, so the loop's time begins after that
-- (job_due.lua). Returns what job_start is to say of it.
local function begin_loop(j, s, how, replica, now, a)
  local tid, deadline, ends = note_attempt(j, s, a.lineMs, now, a)
  record_own(tid, s.llm, replica, j.owner, ends)
  keep(tid, j.owner, replica, a.keep, ends - now)
  call('HSET', P .. 'task:' .. tid, 'job', j.id, 'loop', '1')
  local counts_ms = int(a.attemptMs + a.leaseGraceMs)
  call('ZADD', P .. 'loops:' .. s.llm, int(now + counts_ms), tid)
  call('PEXPIRE', P .. 'loops:' .. s.llm, counts_ms)
  if how == 'line' then call('SET', P .. 'queue-ahead:' .. s.line, tid .. '.ask', 'PX', int(ends - now)) end
  return tid, j.owner, s.llm, int(deadline - now), j.priority, j.may_wake and 1 or 0
end
