-- A task's life: in the line, at a session, ended. A lease is a slot in use; only `forget` gives one back.

-- The attempt of a request that is under way. An agent or a pool may be asked several times for one request, and later asks
-- have a number behind its id; an earlier one may still be stopping. nil for none.
local function attempt_of(request)
  local stopping
  for number = 1, 32 do
    local tid = number == 1 and request or request .. '.' .. number
    local state = call('HGET', P .. 'task:' .. tid, 'state')
    if state and state ~= 'cancelling' then return tid end
    stopping = stopping or state and tid
  end
  return stopping
end

-- Frees all that a task holds: its record, timer, place in its session's stream, lease, asker.
local function forget(tid, sid, llm, entry, asker)
  call('DEL', P .. 'task:' .. tid)
  call('ZREM', P .. 'timers', 'task:' .. tid)
  call('ZREM', P .. 'leases:' .. llm, tid)
  if entry and sid then call('XDEL', P .. 'session-tasks:' .. sid, entry) end
  if asker then call('SREM', P .. 'asked:' .. asker, tid) end
  rerank(llm)
end

-- Refuses everybody who waits for an LLM. The line is bounded, so this is too.
local function refuse_line(llm, refusal)
  local line = P .. 'waiting:' .. llm
  for _, tid in ipairs(call('ZRANGE', line, 0, -1)) do
    local asker = call('HGET', P .. 'task:' .. tid, 'reply')
    tell(asker, tid, refusal)
    forget(tid, nil, llm, nil, asker)
  end
  call('DEL', line, P .. 'line-tags:' .. llm)
  call('HDEL', P .. 'load:' .. llm, 'waitingBytes', 'clock')
end

-- A task's frame as it leaves now: what is kept of it ends before the time that is left.
local function framed(frame, deadline, now)
  return frame .. int(math.max(1, tonumber(deadline) - now)) .. '}'
end

-- The part of a session that delivery needs; nil for a session that is not there.
local function session_of(sid)
  local s = call('HMGET', P .. 'session:' .. sid, 'owner', 'channel', 'replica', 'instance', 'accepts', 'closed', 'leaving')
  if not s[1] then return nil end
  local open = s[2] and s[2] ~= ''
  return {
    owner = s[1], channel = s[2] or '', replica = s[3] or '', accepts = s[5] or '0', closed = s[6] or '',
    -- Nobody has been given what is sent between two channels, so it bears no instance.
    instance = open and (s[4] or '') or '', last_instance = s[4] or '', leaving = s[7] == '1',
    open = open, reachable = open or s[6] == 'broker',
  }
end

-- Writes one task to its session: a place in the stream, a lease on a slot. Whoever calls rings;
-- a session between two channels gets it when the next one opens. `given`: 1 (rung), 0 (nobody has it
-- yet), here (the asker is to write it itself).
local function deliver(tid, llm, sid, session, now, accept_ms, ends, given)
  local key = P .. 'task:' .. tid
  local entry = call('XADD', P .. 'session-tasks:' .. sid, '*', 't', tid)
  call('HSET', key, 'state', 'sent', 'session', sid, 'entry', entry, 'started', int(now), 'instance', session.instance,
    'given', session.open and given or '0')
  call('ZADD', P .. 'leases:' .. llm, int(ends), tid)
  local due = tonumber(ends)
  if session.accepts == '1' and now + accept_ms < due then due = now + accept_ms end
  call('ZADD', P .. 'timers', int(due), 'task:' .. tid)
  rerank(llm)
end

-- One that may wait longer than it may take gets its slot for no longer than that (`span`, ms). Returns deadline and ends.
local function shorten(key, now, deadline, ends, span)
  local grace = ends - deadline
  deadline = math.min(tonumber(deadline), now + span)
  ends = int(deadline + grace)
  call('HSET', key, 'deadline', int(deadline), 'ends', ends)
  return deadline, ends
end

-- Lets those whose turn it is take the slots that are free: of its own line, and of its pools'. `took`: how long the
-- answer took that freed one. `probes`: one alone, to probe a member that is left out.
local function promote(llm, now, accept_ms, took, probes)
  local keys = call('SMEMBERS', P .. 'pools-of:' .. llm)
  local lines, any = #keys > 0 and serving().lines_of(llm, keys, probes) or { llm }, false
  for _, line in ipairs(lines) do
    local waits = call('EXISTS', P .. 'waiting:' .. line) == 1
    if took and (waits or #keys > 0 and line == llm) then
      -- For the estimates of those who wait, and for the choice among a pool's members.
      learn_speed(line, took)
      -- A pool has no row to go with.
      if line ~= llm then call('PEXPIRE', P .. 'load:' .. line, 3600000) end
    end
    any = any or waits
  end
  if not any then return end
  local row = call('HMGET', P .. 'llm:' .. llm, 'status', 'session', 'slots', 'hold')
  -- A public LLM is called by whoever asks, never out of a line.
  if row[1] ~= 'active' or row[4] or not row[2] then return end
  local session = session_of(row[2])
  if not session or not session.reachable then return end
  local free = (tonumber(row[3]) or 1) - call('ZCOUNT', P .. 'leases:' .. llm, int(now), '+inf')
  if probes then free = math.min(1, free) end
  while free > 0 do
    local tid, line = next_in(llm), llm
    if #lines > 1 then tid, line = serving().next_for(llm, lines) end
    if not tid then return end
    serve_line(line, tid)
    local key = P .. 'task:' .. tid
    local t = call('HMGET', key, 'reply', 'frame', 'deadline', 'ends', 'tail', 'span')
    if t[1] then
      local frame, told, deadline, ends = t[2], 'Q0:', t[3], t[4]
      if t[5] then frame, told = serving().give_to(llm, tid, frame, t[5], now, string.sub(line, 2), probes) end
      if t[6] then deadline, ends = shorten(key, now, deadline, ends, t[6]) end
      deliver(tid, llm, row[2], session, now, accept_ms, ends, '1')
      ring(session.replica, session.channel, framed(frame, deadline, now))
      tell(t[1], tid, told)
      free = free - 1
    end
  end
end

-- Stops a task for its asker's sake: out of the line at once, or told to the publisher, which
-- keeps the slot until its last word or the lease's end. `unwritten`: the asker says that it did not
-- write the frame that it was to write.
local function cancel(tid, reason, accept_ms, unwritten)
  local key = P .. 'task:' .. tid
  local t = call('HMGET', key, 'state', 'llm', 'session', 'reply', 'given', 'entry')
  if not t[1] then return 'gone' end
  if t[1] == 'waiting' then
    leave_line(t[2], tid)
    forget(tid, nil, t[2], nil, t[4])
    return 'left'
  end
  if t[1] == 'upstream' then
    -- Its asker calls the upstream itself, and hears of this by the refusal that it is told.
    forget(tid, nil, t[2], nil, t[4])
    return 'left'
  end
  if t[1] == 'sent' and (t[5] == '0' or (t[5] == 'here' and unwritten)) then
    -- Sent between two channels, or never written: no publisher has it, so none would ever say its last word.
    forget(tid, t[3], t[2], t[6], t[4])
    promote(t[2], now_ms(), accept_ms)
    return 'left'
  end
  if t[1] == 'cancelling' then return 'cancelling' end
  local session = session_of(t[3])
  call('HSET', key, 'state', 'cancelling')
  call('HDEL', key, 'body', 'reply')
  if t[4] then call('SREM', P .. 'asked:' .. t[4], tid) end
  call('ZADD', P .. 'timers', call('HGET', key, 'ends'), 'task:' .. tid)
  if session then
    ring(session.replica, session.channel, cjson.encode({ kind = 'cancel', taskId = tid, reason = reason }))
  end
  return 'cancelling'
end
