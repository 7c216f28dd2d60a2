-- The one wake of an LLM: started, ended well, ended badly; and what becomes of those who wait.

local FELL_ASLEEP = 'this LLM fell asleep while the request waited, and this token may not wake it'

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
  call('DEL', P .. 'health:' .. llm)
  emit('llm.active', llm, 'woken')
  rerank(llm)
  promote(llm, now, accept_ms)
  -- For those who still wait, the wait for a slot begins now.
  for i, line in ipairs(serving().lines_of(llm, call('SMEMBERS', P .. 'pools-of:' .. llm))) do
    for _, tid in ipairs(call('ZRANGE', P .. 'waiting:' .. line, 0, -1)) do
      local t = call('HMGET', P .. 'task:' .. tid, 'reply', 'waking')
      -- In a pool's line some wait for a slot since they came.
      if i == 1 or t[2] then tell(t[1], tid, 'W0:') end
      if t[2] then call('HDEL', P .. 'task:' .. tid, 'waking') end
    end
  end
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

-- Sees to those who wait in pools' lines when a member of them went, is held, or fell asleep: for whom only sleepers are left, one is
-- woken; whom nobody is left to serve is refused. `failed`: a member that is not to serve them.
local function tend(keys, refusal, now, failed)
  -- Those of a pool's members that may serve its line, sooner or later: the broken only when there are no others.
  local function hopes_of(key)
    local sound, broken = {}, {}
    for _, llm in ipairs(call('ZRANGE', P .. 'order:' .. key, 0, 31)) do
      local m = orders().standing(llm, now)
      if m.kind == 'virtual' and m.band < AWAY then
        m.waking = m.band == ASLEEP and call('EXISTS', P .. 'wake:' .. llm) == 1
        local list = m.band == BROKEN and broken or sound
        list[#list + 1] = m
      end
    end
    return #sound > 0 and sound or broken
  end

  local function see_to(tid, line, hopes)
    local t = call('HMGET', P .. 'task:' .. tid, 'not', 'wakeLimit', 'reply', 'waking')
    local left_out = t[1] or ''
    if failed then
      left_out = (left_out == '' and '\n' or left_out) .. failed .. '\n'
      call('HSET', P .. 'task:' .. tid, 'not', left_out)
    end
    local hope, sleeper
    for _, m in ipairs(hopes) do
      if not string.find(left_out, '\n' .. m.llm .. '\n', 1, true) then
        if m.band ~= ASLEEP or m.waking then
          -- One that is held sleeps before it serves anybody.
          if not hope or hope.held and not m.held then hope = m end
        elseif not sleeper or m.failures < sleeper.failures then
          sleeper = m
        end
      end
    end
    if hope then
      -- For those who waited for the wake, the wait for a slot begins now.
      if t[4] and not hope.waking and not hope.held then
        call('HDEL', P .. 'task:' .. tid, 'waking')
        tell(t[3], tid, 'W0:')
      elseif hope.held and not t[4] then
        call('HSET', P .. 'task:' .. tid, 'waking', '1')
        tell(t[3], tid, 'Q0:')
      end
    elseif sleeper and t[2] then
      start_wake(sleeper.llm, sleeper.sid, session_of(sleeper.sid), now, tonumber(t[2]))
      sleeper.waking = true
      call('HSET', P .. 'task:' .. tid, 'waking', '1')
      tell(t[3], tid, 'Q0:')
    else
      tell(t[3], tid, sleeper and not failed and failure(403, 'wake_forbidden', FELL_ASLEEP) or refusal)
      leave_line(line, tid)
      forget(tid, nil, line, nil, t[3])
    end
  end

  for _, key in ipairs(keys) do
    local line = '\1' .. key
    local waiting = call('ZRANGE', P .. 'waiting:' .. line, 0, -1)
    local hopes = #waiting > 0 and hopes_of(key)
    for _, tid in ipairs(waiting) do see_to(tid, line, hopes) end
    -- Who is left to serve may have slots free already, for it was left out.
    if hopes and hopes[1] and hopes[1].band == BROKEN then
      for _, m in ipairs(hopes) do probe_later(m.llm, now) end
    end
  end
end

local function wake_failed(llm, code, reason)
  if not end_wake(llm) then return end
  emit('llm.wake-failed', llm, reason)
  if code == 'wake_failed' then
    -- For a while a pool wakes others before it.
    call('HSET', P .. 'health:' .. llm, 'unwoken', 1)
    call('PEXPIRE', P .. 'health:' .. llm, 600000)
  end
  local refusal = failure(503, code, reason)
  refuse_line(llm, refusal)
  tend(call('SMEMBERS', P .. 'pools-of:' .. llm), refusal, now_ms(), llm)
end

-- Tells those who wait in a line that the wait for a slot is over, or begins only after a wake.
local function stop_wait(line)
  for _, tid in ipairs(call('ZRANGE', P .. 'waiting:' .. line, 0, -1)) do
    tell(call('HGET', P .. 'task:' .. tid, 'reply'), tid, 'Q0:')
  end
end

-- Gives those who wait what the row's state allows: the free slots, or a wake if any of them may wake it.
local function attend(llm, sid, now, accept_ms, wake_limit_ms)
  if call('HGET', P .. 'llm:' .. llm, 'status') ~= 'hibernating' then return promote(llm, now, accept_ms) end
  local waiting = call('EXISTS', P .. 'wake:' .. llm) == 0 and call('ZRANGE', P .. 'waiting:' .. llm, 0, -1) or {}
  local may_wake = false
  for _, tid in ipairs(waiting) do
    may_wake = may_wake or call('HEXISTS', P .. 'task:' .. tid, 'noWake') == 0
  end
  if may_wake then
    start_wake(llm, sid, session_of(sid), now, wake_limit_ms)
    -- While it wakes, the wake's limit counts and not the wait in line.
    stop_wait(llm)
  elseif #waiting > 0 then
    refuse_line(llm, failure(403, 'wake_forbidden', FELL_ASLEEP))
  end
  if orders().standing(llm, now).band == ASLEEP then
    tend(call('SMEMBERS', P .. 'pools-of:' .. llm), failure(503, 'publisher_offline', 'nobody serves this pool any more; try again later'), now)
  end
end
