-- The one wake of an LLM: started, ended well, ended badly; and what becomes of those who wait.

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
