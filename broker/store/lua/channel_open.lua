#!lua flags=allow-oom
-- Makes a channel the session's only one: the newest wins, the older is told so. Unfinished tasks
-- are given again, in order; those that another instance had been given end here.
-- ARGV: sid, owner, channel, replica, instance, accept_ms, stale_ms, expire_ms, wake_limit_ms
-- Returns: 'ok' · 'gone'
local sid, owner, channel, replica, instance = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local session = session_of(sid)
if not session or session.owner ~= owner then return 'gone' end
local now = now_ms()
call('HSET', P .. 'session:' .. sid, 'leaving', '0')
if not beat(sid, now, tonumber(ARGV[7]), tonumber(ARGV[8])) then return 'gone' end
if session.open then
  call('SREM', P .. 'channels:' .. session.replica, sid)
  call('XADD', P .. 'inbox:' .. session.replica, 'NOMKSTREAM', '*', 'c', session.channel, 'x', 'superseded')
end
call('HSET', P .. 'session:' .. sid, 'channel', channel, 'replica', replica, 'instance', instance, 'closed', '')
call('HDEL', P .. 'session:' .. sid, 'graceUntil')
call('ZREM', P .. 'timers', 'grace:' .. sid)
call('SADD', P .. 'channels:' .. replica, sid)
emit('session.open', sid, '')
local lost = failure(503, 'publisher_offline', 'the publisher was restarted while it worked on this request')
for _, entry in ipairs(call('XRANGE', P .. 'session-tasks:' .. sid, '-', '+')) do
  local tid = entry[2][2]
  local t = call('HMGET', P .. 'task:' .. tid, 'frame', 'deadline', 'instance', 'llm', 'reply', 'kind', 'state',
    'spoke', 'next')
  -- Who names no instance may be a new process, and a second beginning must not follow a first.
  local elsewhere = t[3] ~= instance or (instance == '' and (t[8] or t[9]))
  if not t[1] then
    call('XDEL', P .. 'session-tasks:' .. sid, entry[1])
  elseif elsewhere and (t[3] ~= '' or t[8] or t[9]) then
    if t[6] == 'wake' then
      wake_failed(t[4], 'publisher_offline', 'the publisher was restarted during the wake')
    else
      tell(t[5], tid, lost)
      forget(tid, sid, t[4], entry[1], t[5])
    end
  elseif t[7] == 'cancelling' then
    ring(replica, channel, cjson.encode({ kind = 'cancel', taskId = tid, reason = 'cancelled' }))
  else
    call('HSET', P .. 'task:' .. tid, 'instance', instance, 'given', '1')
    local frame = t[1]
    if t[6] ~= 'wake' then frame = framed(frame, t[2], now) end
    ring(replica, channel, frame)
  end
end
for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
  if string.sub(member, 1, 4) == 'llm:' then
    local llm = string.sub(member, 5)
    rerank(llm)
    attend(llm, sid, now, tonumber(ARGV[6]), tonumber(ARGV[9]))
  end
end
return 'ok'
