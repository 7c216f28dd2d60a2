-- What several scripts share: the clock, and acts. Each script gets the definitions that it uses
-- (broker/store/scripts.py): a blank line ends a definition, and each uses only those above it.
-- KEYS[1] is the namespace's prefix, `rv:{ns}:`. A namespace is one slot, so every key
-- that is built from it is on this node; broker/store/keys.py lists them all.
-- Rule of the house: a script refuses first and writes last, for Lua does not roll back.
local P = KEYS[1]
local call = redis.call

-- Milliseconds of Redis' own clock, the only clock that decides anything.
local function now_ms()
  local t = call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Whole milliseconds as text; Lua would write large numbers as 1.7e+12.
local function int(n)
  return string.format('%.0f', n)
end

-- One event per change of state, for whoever watches; trimmed, never read by a decision.
local function emit(kind, name, detail)
  call('XADD', P .. 'events', 'MAXLEN', '~', '10000', '*', 'kind', kind, 'name', name, 'detail', detail or '')
end

-- A part of a reply: one letter, the length, a colon, the bytes (broker/relay/parts.py reads them).
local function part(letter, bytes)
  return letter .. #bytes .. ':' .. bytes
end

local function failure(status, code, message)
  return part('E', cjson.encode({ status = status, code = code, message = message }))
end

-- Hands parts to the replica whose client waits. A replica that was reaped has no stream:
-- then nobody waits any more, and nothing is kept.
local function tell(replica, tid, parts)
  if replica then
    call('XADD', P .. 'reply:' .. replica, 'NOMKSTREAM', '*', tid, parts)
  end
end

-- Puts a frame into the doorbell of the replica that holds the channel, if one does.
local function ring(replica, channel, frame)
  if channel and channel ~= '' then
    call('XADD', P .. 'inbox:' .. replica, 'NOMKSTREAM', '*', 'c', channel, 'f', frame)
  end
end

-- Frees all that a task holds: its record, timer, place in its session's stream, lease, asker.
local function forget(tid, sid, llm, entry, asker)
  call('DEL', P .. 'task:' .. tid)
  call('ZREM', P .. 'timers', 'task:' .. tid)
  call('ZREM', P .. 'leases:' .. llm, tid)
  if entry and sid then call('XDEL', P .. 'session-tasks:' .. sid, entry) end
  if asker then call('SREM', P .. 'asked:' .. asker, tid) end
end

-- Takes a request out of an LLM's waiting line, with its share of the line's bytes.
local function leave_line(llm, tid)
  local size = tonumber(call('HGET', P .. 'task:' .. tid, 'size') or '0') or 0
  call('ZREM', P .. 'waiting:' .. llm, tid)
  if call('EXISTS', P .. 'waiting:' .. llm) == 1 then
    call('HINCRBY', P .. 'load:' .. llm, 'waitingBytes', -size)
  else
    call('HDEL', P .. 'load:' .. llm, 'waitingBytes')
  end
end

-- Refuses everybody who waits for an LLM. The line is bounded, so this is too.
local function refuse_line(llm, refusal)
  local line = P .. 'waiting:' .. llm
  for _, tid in ipairs(call('ZRANGE', line, 0, -1)) do
    local asker = call('HGET', P .. 'task:' .. tid, 'reply')
    tell(asker, tid, refusal)
    forget(tid, nil, llm, nil, asker)
  end
  call('DEL', line)
  call('HDEL', P .. 'load:' .. llm, 'waitingBytes')
end

-- A task's frame as it leaves now: what is kept of it ends before the time that is left.
local function framed(frame, deadline, now)
  return frame .. int(math.max(1, tonumber(deadline) - now)) .. '}'
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

-- Lets those who wait longest take the slots that are free. `took`: how long the answer took that
-- freed one, for the estimate that those who find the line full are given.
local function promote(llm, now, accept_ms, took)
  local line = P .. 'waiting:' .. llm
  if call('EXISTS', line) == 0 then return end
  if took then
    local average = tonumber(call('HGET', P .. 'load:' .. llm, 'avgMs') or took)
    call('HSET', P .. 'load:' .. llm, 'avgMs', int(average * 0.8 + took * 0.2))
  end
  local row = call('HMGET', P .. 'llm:' .. llm, 'status', 'session', 'slots')
  if row[1] ~= 'active' then return end
  local session = session_of(row[2])
  if not session or not session.reachable then return end
  local leases = P .. 'leases:' .. llm
  local free = (tonumber(row[3]) or 1) - call('ZCOUNT', leases, int(now), '+inf')
  while free > 0 do
    local tid = call('ZRANGE', line, 0, 0)[1]
    if not tid then return end
    local asker = call('HGET', P .. 'task:' .. tid, 'reply')
    leave_line(llm, tid)
    if asker then
      local t = call('HMGET', P .. 'task:' .. tid, 'frame', 'deadline', 'ends')
      deliver(tid, llm, row[2], session, now, accept_ms, t[3], '1')
      ring(session.replica, session.channel, framed(t[1], t[2], now))
      tell(asker, tid, 'Q0:')
      free = free - 1
    end
  end
end

-- Ends the wake of an LLM, if one is in flight: the wake's task goes, the record goes.
local function end_wake(llm)
  local key = P .. 'wake:' .. llm
  local wake = call('HMGET', key, 'task', 'session', 'entry')
  if not wake[1] then return false end
  call('DEL', key, P .. 'task:' .. wake[1])
  call('ZREM', P .. 'timers', 'wake:' .. llm)
  if wake[3] then call('XDEL', P .. 'session-tasks:' .. wake[2], wake[3]) end
  return true
end

local function wake_succeeded(llm, now, accept_ms)
  end_wake(llm)
  call('HSET', P .. 'llm:' .. llm, 'status', 'active', 'updatedAt', int(now))
  emit('llm.active', llm, 'woken')
  promote(llm, now, accept_ms)
  -- For those who still wait, the wait for a slot begins now.
  for _, tid in ipairs(call('ZRANGE', P .. 'waiting:' .. llm, 0, -1)) do
    tell(call('HGET', P .. 'task:' .. tid, 'reply'), tid, 'W0:')
  end
end

local function wake_failed(llm, code, reason)
  if not end_wake(llm) then return end
  emit('llm.wake-failed', llm, reason)
  refuse_line(llm, failure(503, code, reason))
end

-- Starts the one wake of an LLM, unless it is under way.
local function start_wake(llm, sid, session, now, wake_limit_ms)
  if call('EXISTS', P .. 'wake:' .. llm) == 1 then return end
  local wake = 'wake_' .. int(now) .. '_' .. call('INCR', P .. 'arrivals')
  local frame = cjson.encode({ kind = 'wake', taskId = wake, llmName = llm })
  local entry = call('XADD', P .. 'session-tasks:' .. sid, '*', 't', wake)
  call('HSET', P .. 'wake:' .. llm, 'task', wake, 'session', sid, 'entry', entry, 'startedAt', int(now))
  call('HSET', P .. 'task:' .. wake, 'kind', 'wake', 'llm', llm, 'session', sid, 'entry', entry,
    'state', 'sent', 'frame', frame, 'instance', session.instance)
  call('ZADD', P .. 'timers', int(now + wake_limit_ms), 'wake:' .. llm)
  ring(session.replica, session.channel, frame)
  emit('llm.waking', llm, '')
end

-- Gives those who wait what the row's state allows: the free slots, or a wake.
local function attend(llm, sid, now, accept_ms, wake_limit_ms)
  local line = P .. 'waiting:' .. llm
  if call('EXISTS', line) == 0 then return end
  if call('HGET', P .. 'llm:' .. llm, 'status') ~= 'hibernating' then return promote(llm, now, accept_ms) end
  if call('EXISTS', P .. 'wake:' .. llm) == 1 then return end
  start_wake(llm, sid, session_of(sid), now, wake_limit_ms)
  -- While it wakes, the wake's limit counts and not the wait in line.
  for _, tid in ipairs(call('ZRANGE', line, 0, -1)) do tell(call('HGET', P .. 'task:' .. tid, 'reply'), tid, 'Q0:') end
end

local OFFLINE = 'the publisher of this LLM is offline; try again when it is back'

-- Refuses every unfinished task of a session, and whoever waits for its LLMs.
local function lose_work(sid, message)
  local refusal = failure(503, 'publisher_offline', message or OFFLINE)
  local session = session_of(sid)
  for _, entry in ipairs(call('XRANGE', P .. 'session-tasks:' .. sid, '-', '+')) do
    local tid = entry[2][2]
    local t = call('HMGET', P .. 'task:' .. tid, 'llm', 'reply', 'kind')
    if t[3] == 'wake' then
      wake_failed(t[1], 'publisher_offline', message or OFFLINE)
    elseif t[1] then
      tell(t[2], tid, refusal)
      forget(tid, sid, t[1], entry[1], t[2])
      -- A publisher that still listens, though it gave no sign of life, is not to work for nobody.
      if session and session.open then
        ring(session.replica, session.channel, cjson.encode({ kind = 'cancel', taskId = tid, reason = 'publisher offline' }))
      end
    else
      call('XDEL', P .. 'session-tasks:' .. sid, entry[1])
    end
  end
  for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
    if string.sub(member, 1, 4) == 'llm:' then refuse_line(string.sub(member, 5), refusal) end
  end
end

-- Marks one row inactive, since `since`. Returns 1, or 0 when it is that already.
local function rest_row(member, since, last_beat, expire_ms)
  local status = call('HGET', P .. member, 'status')
  if not status or status == 'inactive' then return 0 end
  call('HSET', P .. member, 'before', status, 'status', 'inactive',
    'inactiveSince', int(since), 'lastHeartbeatAt', last_beat, 'updatedAt', int(since))
  local family = string.match(member, '^(%a+):')
  call('ZADD', P .. 'expiring:' .. family, int(since + expire_ms), member)
  emit(family .. '.inactive', string.sub(member, #family + 2), '')
  if family == 'llm' then
    wake_failed(string.sub(member, 5), 'publisher_offline', 'the publisher went offline during the wake')
  end
  return 1
end

-- Marks the rows of a session inactive, since `since`; returns how many changed.
local function rest_rows(sid, since, expire_ms)
  local changed = 0
  local last_beat = call('HGET', P .. 'session:' .. sid, 'heartbeatAt') or int(since)
  for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
    changed = changed + rest_row(member, since, last_beat, expire_ms)
  end
  call('HSET', P .. 'session:' .. sid, 'down', '1')
  return changed
end

local function drop_session(sid)
  lose_work(sid)
  local session = session_of(sid)
  if session and session.open then
    call('SREM', P .. 'channels:' .. session.replica, sid)
    call('XADD', P .. 'inbox:' .. session.replica, 'NOMKSTREAM', '*', 'c', session.channel, 'x', 'gone')
  end
  call('DEL', P .. 'session:' .. sid, P .. 'alive:' .. sid, P .. 'session-tasks:' .. sid, P .. 'session-rows:' .. sid)
  call('ZREM', P .. 'heartbeats', sid)
  call('ZREM', P .. 'timers', 'grace:' .. sid)
end

-- Takes a row out of its session; a session lives until its last row goes.
local function leave_session(sid, member)
  call('SREM', P .. 'session-rows:' .. sid, member)
  if call('EXISTS', P .. 'session-rows:' .. sid) == 0 then drop_session(sid) end
end

local function drop_agent(name)
  local row = call('HMGET', P .. 'agent:' .. name, 'id', 'session', 'llm')
  if not row[1] then return 0 end
  call('DEL', P .. 'agent:' .. name)
  call('SREM', P .. 'agents', name)
  call('HDEL', P .. 'agent-ids', row[1])
  call('ZREM', P .. 'expiring:agent', 'agent:' .. name)
  if row[3] then call('SREM', P .. 'llm-agents:' .. row[3], name) end
  emit('agent.deleted', name, '')
  if row[2] then leave_session(row[2], 'agent:' .. name) end
  return 1
end

-- Refuses the tasks of one LLM that are at `sid`, and tells the publisher to stop them.
local function lose_tasks_of(llm, sid, message)
  local session = session_of(sid)
  for _, tid in ipairs(call('ZRANGE', P .. 'leases:' .. llm, 0, -1)) do
    local t = call('HMGET', P .. 'task:' .. tid, 'session', 'entry', 'reply')
    if t[1] == sid then
      tell(t[3], tid, failure(503, 'publisher_offline', message))
      if session then
        ring(session.replica, session.channel, cjson.encode({ kind = 'cancel', taskId = tid, reason = 'unpublished' }))
      end
      forget(tid, sid, llm, t[2], t[3])
    end
  end
end

-- Names of the public agents that are pinned to an LLM: those keep it from expiring.
local function public_agents(llm)
  local names = {}
  for _, agent in ipairs(call('SMEMBERS', P .. 'llm-agents:' .. llm)) do
    if call('HGET', P .. 'agent:' .. agent, 'kind') == 'public' then names[#names + 1] = agent end
  end
  return names
end

-- Whether a row stays beyond its time, inactive: an LLM that public agents are pinned to does.
local function kept(member)
  return string.sub(member, 1, 4) == 'llm:' and #public_agents(string.sub(member, 5)) > 0
end

-- Deletes an LLM row and, first, the virtual agents pinned to it; returns how many rows went.
local function drop_llm(name)
  local row = call('HMGET', P .. 'llm:' .. name, 'id', 'session')
  if not row[1] then return 0 end
  local gone = 1
  for _, agent in ipairs(call('SMEMBERS', P .. 'llm-agents:' .. name)) do gone = gone + drop_agent(agent) end
  local refusal = 'this LLM was unpublished'
  wake_failed(name, 'publisher_offline', refusal)
  refuse_line(name, failure(503, 'publisher_offline', refusal))
  if row[2] then lose_tasks_of(name, row[2], refusal) end
  call('DEL', P .. 'llm:' .. name, P .. 'leases:' .. name, P .. 'load:' .. name, P .. 'llm-agents:' .. name)
  call('SREM', P .. 'llms', name)
  call('HDEL', P .. 'llm-ids', row[1])
  call('ZREM', P .. 'expiring:llm', 'llm:' .. name)
  emit('llm.deleted', name, '')
  if row[2] then leave_session(row[2], 'llm:' .. name) end
  return gone
end

local function drop_row(member)
  local family = string.match(member, '^(%a+):')
  local name = string.sub(member, #family + 2)
  if family == 'agent' then return drop_agent(name) end
  return drop_llm(name)
end

-- A heartbeat covers every row of the session and brings the inactive ones back to what they were.
-- A row that is past its time is gone for good, as readers have seen already.
local function beat(sid, now, stale_ms, expire_ms)
  local last = tonumber(call('HGET', P .. 'session:' .. sid, 'heartbeatAt') or now)
  if last + stale_ms + expire_ms <= now and call('EXISTS', P .. 'alive:' .. sid) == 0 then
    -- No sweep came by since they ran out.
    rest_rows(sid, last + stale_ms, expire_ms)
  end
  call('SET', P .. 'alive:' .. sid, int(now), 'PX', int(stale_ms))
  call('HSET', P .. 'session:' .. sid, 'heartbeatAt', int(now))
  call('ZADD', P .. 'heartbeats', int(now), sid)
  local s = call('HMGET', P .. 'session:' .. sid, 'down', 'leaving')
  if s[1] ~= '1' or s[2] == '1' then return true end
  for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
    local row = call('HMGET', P .. member, 'status', 'before', 'inactiveSince')
    if row[1] == 'inactive' then
      local family = string.match(member, '^(%a+):')
      local name = string.sub(member, #family + 2)
      local due = tonumber(row[3] or now) + expire_ms <= now
      if due and not kept(member) then
        drop_row(member)
      else
        call('HSET', P .. member, 'status', row[2] or 'active', 'updatedAt', int(now))
        call('HDEL', P .. member, 'inactiveSince', 'before')
        call('ZREM', P .. 'expiring:' .. family, member)
        emit(family .. '.' .. (row[2] or 'active'), name, 'back')
      end
    end
  end
  if call('EXISTS', P .. 'session:' .. sid) == 0 then return false end
  call('HSET', P .. 'session:' .. sid, 'down', '0')
  return true
end

-- What readers see of the virtual row `member`: without a heartbeat it is inactive, whether or not a sweep
-- came by, and after its time it is not there at all. Returns status, since (ms), gone.
local function seen(member, status, since, sid, now, stale_ms, expire_ms)
  since = tonumber(since)
  if status ~= 'inactive' and call('EXISTS', P .. 'alive:' .. (sid or '')) == 0 then
    status = 'inactive'
    since = tonumber(call('HGET', P .. 'session:' .. (sid or ''), 'heartbeatAt') or now) + stale_ms
  end
  local due = status == 'inactive' and since ~= nil and since + expire_ms <= now
  return status, since, due and not kept(member)
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
