#!lua flags=allow-oom
-- Ends a channel, if it is still the session's own. Closed by the publisher: its rows are inactive
-- at once and only the refusal of running work waits for the grace. Closed by the broker: the
-- session stays live for the grace while the publisher comes back elsewhere.
-- ARGV: sid, channel, by (publisher | broker), grace_ms, expire_ms
-- Returns: 'ok' · 'stale'
local sid, channel, by, grace_ms, expire_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local session = session_of(sid)
if not session or session.channel ~= channel then return 'stale' end
local now = now_ms()
call('SREM', P .. 'channels:' .. session.replica, sid)
call('HSET', P .. 'session:' .. sid, 'channel', '', 'replica', '', 'closed', by)
emit('session.closed', sid, by)
if by == 'publisher' then rest_rows(sid, now, expire_ms) end
if grace_ms > 0 and not session.leaving then
  call('HSET', P .. 'session:' .. sid, 'graceUntil', int(now + grace_ms))
  call('ZADD', P .. 'timers', int(now + grace_ms), 'grace:' .. sid)
else
  if by == 'broker' then rest_rows(sid, now, expire_ms) end
  call('HSET', P .. 'session:' .. sid, 'closed', '')
  lose_work(sid)
end
return 'ok'
