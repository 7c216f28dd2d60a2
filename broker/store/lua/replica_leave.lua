#!lua flags=allow-oom
-- A replica ends in order: its channels were closed, its requests answered; what is left of it goes.
-- Kept tasks go on without it.
-- ARGV: replica, grace_ms, accept_ms
-- Returns: 'ok'
local replica, grace_ms, accept_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
for _, sid in ipairs(call('SMEMBERS', P .. 'channels:' .. replica)) do
  if call('HGET', P .. 'session:' .. sid, 'replica') == replica then
    call('HSET', P .. 'session:' .. sid, 'channel', '', 'replica', '', 'closed', 'broker', 'graceUntil', int(now + grace_ms))
    call('ZADD', P .. 'timers', int(now + grace_ms), 'grace:' .. sid)
  end
end
for _, tid in ipairs(call('SMEMBERS', P .. 'asked:' .. replica)) do abandon(tid, replica, now, accept_ms) end
for _, id in ipairs(call('SMEMBERS', P .. 'turns:' .. replica)) do
  if call('HGET', P .. 'thread:' .. id, 'replica') == replica then
    break_turn(id, now, 503, 'broker_stopped', 'this broker was shut down before the answer was complete')
  end
end
call('ZREM', P .. 'replicas', replica)
call('DEL', P .. 'inbox:' .. replica, P .. 'reply:' .. replica, P .. 'channels:' .. replica, P .. 'asked:' .. replica,
  P .. 'turns:' .. replica)
return 'ok'
