#!lua flags=allow-oom
-- What falls due, for all replicas: tasks past their end or never accepted, grace periods, wakes
-- past their limit, kept tasks that nobody came back to, replicas that died. Every replica calls it; whoever comes first does it.
-- ARGV: limit, accept_ms, grace_ms, expire_ms, steady_ms (after an outage, seen as a gap in the
--       pulse, replicas get so long to come back before one is called dead)
-- Returns: how many things were done
local limit, accept_ms, grace_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local expire_ms, steady_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local done = 0

local function task_due(tid)
  local key = P .. 'task:' .. tid
  local t = call('HMGET', key, 'state', 'llm', 'session', 'reply', 'entry', 'ends', 'frame', 'deadline')
  if not t[1] then
    call('ZREM', P .. 'timers', 'task:' .. tid)
    return
  end
  local session = t[3] and session_of(t[3])
  if tonumber(t[6]) <= now then
    if t[1] == 'waiting' then leave_line(t[2], tid) end
    tell(t[4], tid, failure(504, 'deadline_exceeded', 'the request was not answered before its deadline'))
    if session and t[1] ~= 'cancelling' then
      ring(session.replica, session.channel, cjson.encode({ kind = 'cancel', taskId = tid, reason = 'deadline' }))
    end
    forget(tid, t[3], t[2], t[5], t[4])
    promote(t[2], now, accept_ms)
  elseif t[1] == 'sent' and session and session.accepts == '1' then
    ring(session.replica, session.channel, framed(t[7], t[8], now))
    call('HSET', key, 'given', '1')
    call('ZADD', P .. 'timers', int(math.min(now + accept_ms, tonumber(t[6]))), 'task:' .. tid)
  else
    call('ZADD', P .. 'timers', t[6], 'task:' .. tid)
  end
end

local function grace_due(sid)
  call('ZREM', P .. 'timers', 'grace:' .. sid)
  local session = session_of(sid)
  if not session or session.open then return end
  if session.closed == 'broker' then rest_rows(sid, now, expire_ms) end
  call('HSET', P .. 'session:' .. sid, 'closed', '')
  lose_work(sid)
end

-- A member of pools is left out, and some wait: one of them probes it. Where only such members are left they serve.
local function probe_due(llm)
  call('ZREM', P .. 'timers', 'probe:' .. llm)
  promote(llm, now, accept_ms)
  local m = orders().standing(llm, now)
  if m.band == BROKEN and m.open <= now then promote(llm, now, accept_ms, nil, true) end
end

for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'timers', '-inf', int(now), 'LIMIT', 0, limit)) do
  local kind, id = string.match(member, '^(%a+):(.*)$')
  if kind == 'task' then task_due(id) end
  if kind == 'grace' then grace_due(id) end
  if kind == 'probe' then probe_due(id) end
  if kind == 'orphan' then orphan_due(id, accept_ms) end
  if kind == 'wake' then wake_failed(id, 'wake_failed', 'the wake did not end within its limit') end
  done = done + 1
end

local pulse = call('HMGET', P .. 'pulse', 'last', 'since')
local since = tonumber(pulse[2] or now)
-- A third of it: a replica beats three times in its life, so a shorter gap cannot have made it miss.
if not pulse[1] or now - tonumber(pulse[1]) > steady_ms / 3 then since = now end
call('HSET', P .. 'pulse', 'last', int(now), 'since', int(since))
if now - since < steady_ms then return done end

for _, dead in ipairs(call('ZRANGEBYSCORE', P .. 'replicas', '-inf', int(now), 'LIMIT', 0, 5)) do
  local left = 0
  -- First, so that a replica which comes back halfway through this is told that it was taken for dead.
  call('DEL', P .. 'inbox:' .. dead, P .. 'reply:' .. dead)
  for _, sid in ipairs(call('SRANDMEMBER', P .. 'channels:' .. dead, limit)) do
    call('SREM', P .. 'channels:' .. dead, sid)
    if call('HGET', P .. 'session:' .. sid, 'replica') == dead then
      call('HSET', P .. 'session:' .. sid, 'channel', '', 'replica', '', 'closed', 'broker',
        'graceUntil', int(now + grace_ms))
      call('ZADD', P .. 'timers', int(now + grace_ms), 'grace:' .. sid)
    end
    left = left + 1
  end
  for _, tid in ipairs(call('SRANDMEMBER', P .. 'asked:' .. dead, limit)) do
    call('SREM', P .. 'asked:' .. dead, tid)
    abandon(tid, dead, now, accept_ms)
    left = left + 1
  end
  for _, id in ipairs(call('SRANDMEMBER', P .. 'turns:' .. dead, limit)) do
    call('SREM', P .. 'turns:' .. dead, id)
    if call('HGET', P .. 'thread:' .. id, 'replica') == dead then
      break_turn(id, now, 503, 'replica_lost', 'the broker that ran this turn was lost; ask again')
    end
    left = left + 1
  end
  if left == 0 then
    call('ZREM', P .. 'replicas', dead)
    emit('replica.dead', dead, '')
  end
  done = done + left + 1
end
return done
