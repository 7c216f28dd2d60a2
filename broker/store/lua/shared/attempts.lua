-- Attempts of jobs: where one can be made now, and how it begins. `a` are the claimer's settings (broker/store/claims.py).

-- How an LLM stands towards a job: free · full (or somebody waits) · asleep · away; nil for none of that name.
local function seat_at(llm, now, a)
  local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'status', 'session', 'slots', 'inactiveSince', 'hold')
  if not row[1] then return nil end
  local s = { llm = llm, line = llm, public = row[1] == 'public', sid = row[3], slots = tonumber(row[4]) or 0 }
  local leases = call('ZCOUNT', P .. 'leases:' .. llm, int(now), '+inf')
  if s.public then
    s.is = leases < (s.slots > 0 and s.slots or a.upstreamCalls) and 'free' or 'full'
    return s
  end
  local status, _, gone = seen('llm:' .. llm, row[2], row[5], row[3], now, a.staleMs, a.expireMs)
  if gone then return nil end
  s.slots = math.max(1, s.slots)
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

-- The same of a pool: by its best member, but for those that are `left_out` while there are others.
local function seat_in(key, left_out, now, a)
  local found, passed = candidates_of(key, left_out, now, a.staleMs, a.expireMs)
  if #found == 0 and passed > 0 then
    left_out = ''
    found = candidates_of(key, '', now, a.staleMs, a.expireMs)
  end
  weigh(found)
  table.sort(found, comes_first)
  local probe = due_probe(key, left_out, now, a.probeMs, a.staleMs, a.expireMs)
  local best = probe or found[1]
  if not best then return nil end
  local s = { llm = best.llm, line = line_of_pool(key), key = key, left_out = left_out, public = best.kind == 'public', sid = best.sid }
  if not s.public then s.session = session_of(s.sid) end
  if probe or best.band == 0 and call('EXISTS', P .. 'waiting:' .. s.line, P .. 'waiting:' .. s.llm) == 0 then
    s.is = 'free'
  elseif best.band == 1 then
    s.is = best.leases < (best.slots or a.upstreamCalls) and 'free' or 'full'
  elseif best.band == ASLEEP then
    s.is = 'asleep'
  else
    s.is = best.band >= AWAY and 'away' or 'full'
  end
  return s
end

-- The same of whoever has a model.
local function seat_of_model(model, left_out, now, a)
  use_pool('m:' .. model, a.attemptMs)
  return seat_in('m:' .. model, left_out, now, a)
end

-- Where a job for `target` could be tried: an LLM of that name, else a pool that it names, else an agent's LLM; nil: nobody
-- of that name is there.
local function seat_for(target, left_out, now, a)
  local s = seat_at(target, now, a)
  if s then return s end
  for _, key in ipairs(pools_asked(target)) do
    use_pool(key, a.attemptMs)
    s = seat_in(key, left_out, now, a)
    if s then return s end
  end
  local agent = string.match(target, '^agent/(.+)$')
  local row = agent and call('HMGET', P .. 'agent:' .. agent, 'llm', 'model')
  if row and row[1] then
    s = seat_at(row[1], now, a)
  elseif row and row[2] then
    s = seat_of_model(row[2], left_out, now, a)
  end
  if s then s.persona = true end
  return s
end

-- How a job may go in there: `now`, in `line`, or not yet (nil). Only one of a queue waits in a line of requests: so that it
-- has its turn also where there is always somebody, and that who sleeps is woken. The others do not hold up requests.
local function way_in(j, s)
  if s.is == 'free' then return 'now' end
  if s.public or s.is == 'away' then return nil end
  if s.is == 'asleep' and not j.may_wake and call('EXISTS', P .. 'wake:' .. s.llm) == 0 then return nil end
  local ahead = call('GET', P .. 'queue-ahead:' .. s.line)
  if ahead and call('HGET', P .. 'task:' .. ahead, 'state') == 'waiting' then return nil end
  return 'line'
end

-- Begins an attempt of a queued job. Returns nil, or what its replica needs to call the upstream: tid, llm, ms until the
-- deadline, type, model, url, secret, sealed, key.
local function begin_attempt(j, s, how, body, replica, now, a)
  local tid = j.id .. '.' .. call('HINCRBY', j.key, 'i', 1)
  local deadline = now + (how == 'line' and a.lineMs or a.attemptMs)
  if j.deadline and j.deadline < deadline then deadline = j.deadline end
  local ends = deadline + a.leaseGraceMs
  leave_queue(j, true)
  call('HSET', j.key, 's', 'running', 'x', tid .. '\t' .. int(now), 't', a.bounds)
  call('HINCRBY', j.key, 'n', 1)
  call('ZREM', P .. 'job-timers', 'r:' .. j.id)
  call('ZADD', P .. 'job-timers', int(now + a.idleMs), 's:' .. j.id)
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
    call('HSET', P .. 'task:' .. tid, 'tail', tail, 'not', s.left_out, 'request', tid)
    if j.may_wake then call('HSET', P .. 'task:' .. tid, 'wakeLimit', int(a.wakeLimitMs)) end
  end
  wait_in(s.line, tid, j.owner, j.priority, #body, s.slots or 1, ends)
  if pooled then call('PEXPIRE', P .. 'load:' .. s.line, int(3600000 + ends - now)) end
  call('SET', P .. 'queue-ahead:' .. s.line, tid, 'PX', int(ends - now))
  if s.is == 'asleep' then start_wake(s.llm, s.sid, s.session, now, a.wakeLimitMs) end
  return nil
end
