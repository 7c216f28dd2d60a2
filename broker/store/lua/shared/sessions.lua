-- A session's end: its work is refused, its rows rest, and it goes with its last row.

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
    if string.sub(member, 1, 4) == 'llm:' then
      refuse_line(string.sub(member, 5), refusal)
      tend(call('SMEMBERS', P .. 'pools-of:' .. string.sub(member, 5)), refusal, now_ms())
    end
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
    rerank(string.sub(member, 5))
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
  call('SREM', P .. 'sessions', sid)
  call('ZREM', P .. 'heartbeats', sid)
  call('ZREM', P .. 'timers', 'grace:' .. sid)
end

-- Takes a row out of its session; a session lives until its last row goes.
local function leave_session(sid, member)
  call('SREM', P .. 'session-rows:' .. sid, member)
  if call('EXISTS', P .. 'session-rows:' .. sid) == 0 then drop_session(sid) end
end
