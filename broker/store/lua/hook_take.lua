#!lua flags=allow-oom
-- Takes webhooks that are to be sent, each for one sender for a while. One step, or two replicas would send one at once.
-- ARGV: limit, lease_ms, most (tries), lasts_ms (after the job's end)
-- Returns: for each {try, job (`told_job`, shared/jobs.lua)}
local lease_ms, most, lasts_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now, taken = now_ms(), {}
for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'hooks', '-inf', int(now), 'LIMIT', 0, tonumber(ARGV[1]))) do
  local key = P .. 'job:' .. id
  local j = call('HMGET', key, 'u', 'y')
  local tries = tonumber(j[2] or '0')
  if not j[1] or tries >= most or now - tonumber(j[1]) > lasts_ms then
    call('ZREM', P .. 'hooks', id)
    if j[1] then call('HSET', key, 'v', 'given up') end
  else
    call('HSET', key, 'y', tries + 1)
    call('ZADD', P .. 'hooks', int(now + lease_ms), id)
    taken[#taken + 1] = { tries + 1, told_job(id) }
  end
end
return taken
