#!lua flags=allow-oom
-- What became of a webhook. A sender that was so slow that another took it says nothing, nor one that told of an end
-- after which the job was tried anew and ended again.
-- ARGV: id, try, ended_ms, outcome, retry_ms ('' = no more tries)
-- Returns: 'ok'
local id, key = ARGV[1], P .. 'job:' .. ARGV[1]
local j = call('HMGET', key, 'y', 'u')
if j[1] ~= ARGV[2] or j[2] ~= ARGV[3] or not call('ZSCORE', P .. 'hooks', id) then return 'ok' end
call('HSET', key, 'v', ARGV[4])
if ARGV[5] == '' then
  call('ZREM', P .. 'hooks', id)
else
  call('ZADD', P .. 'hooks', int(now_ms() + tonumber(ARGV[5])), id)
end
return 'ok'
