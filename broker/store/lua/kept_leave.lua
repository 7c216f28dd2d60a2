#!lua flags=allow-oom
-- A client of a kept task went away from this replica; if it was the last anywhere, the task's grace begins.
-- ARGV: tid, replica, who (asker · follower: the last one here)
-- Returns: 'ok'
local tid, replica = ARGV[1], ARGV[2]
local key = P .. 'task:' .. tid
local t = call('HMGET', key, 'keep', 'state', 'reply')
if not t[1] then return 'ok' end
if ARGV[3] == 'follower' then
  call('SREM', P .. 'followers:' .. tid, replica)
elseif t[3] == replica and t[2] ~= 'upstream' then
  t[3] = ''
  call('HSET', key, 'reply', '')
end
if t[3] ~= replica and call('SISMEMBER', P .. 'followers:' .. tid, replica) == 0 then
  call('SREM', P .. 'asked:' .. replica, tid)
end
orphan(tid, now_ms())
return 'ok'
