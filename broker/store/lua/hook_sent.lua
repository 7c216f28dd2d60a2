#!lua flags=allow-oom
-- What became of a webhook. A sender that was so slow that another took it says nothing.
-- ARGV: id, try, outcome, retry_ms ('' = no more tries)
-- Returns: 'ok'
local id, key = ARGV[1], P .. 'job:' .. ARGV[1]
if call('HGET', key, 'y') ~= ARGV[2] or not call('ZSCORE', P .. 'hooks', id) then return 'ok' end
call('HSET', key, 'v', ARGV[3])
if ARGV[4] == '' then
  call('ZREM', P .. 'hooks', id)
else
  call('ZADD', P .. 'hooks', int(now_ms() + tonumber(ARGV[4])), id)
end
return 'ok'
