#!lua flags=allow-oom
-- A replica says that it lives; its two streams live as long as it says so.
-- ARGV: replica, ttl_ms, stream_ttl_ms, first (0|1)
-- Returns: 'ok' · 'lost' (others took it for dead, or Redis lost it: start anew)
local replica, ttl_ms, stream_ttl_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local inbox, reply = P .. 'inbox:' .. replica, P .. 'reply:' .. replica
local known = call('ZSCORE', P .. 'replicas', replica) and call('EXISTS', inbox, reply) == 2
call('ZADD', P .. 'replicas', int(now_ms() + ttl_ms), replica)
if not known then
  for _, stream in ipairs({ inbox, reply }) do
    call('XADD', stream, '*', 'x', 'born')
    call('XTRIM', stream, 'MAXLEN', 0)
  end
end
call('PEXPIRE', inbox, stream_ttl_ms)
call('PEXPIRE', reply, stream_ttl_ms)
if known or ARGV[4] == '1' then return 'ok' end
return 'lost'
