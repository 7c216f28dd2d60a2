#!lua flags=no-writes
-- A piece of an owner's list of jobs, newest first.
-- ARGV: owner, state ('' = any), limit, before (score of the last one that was seen; '' = from the newest), scan (most jobs
--       that are looked at)
-- Returns: {score to go on from ('' = that was all), job (`told_job`, shared/jobs.lua), …}
local owner, state, limit, before, scan = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local ids = call('ZREVRANGEBYSCORE', P .. 'jobs-of:' .. owner, before == '' and '+inf' or '(' .. before, '-inf',
  'WITHSCORES', 'LIMIT', 0, scan)
local found, on = { '' }, ''
for i = 1, #ids, 2 do
  if #found > limit then break end
  on = ids[i + 1]
  local j = told_job(ids[i])
  if j and (state == '' or j[2] == state) then found[#found + 1] = j end
end
local rest = on ~= '' and call('ZREVRANGEBYSCORE', P .. 'jobs-of:' .. owner, '(' .. on, '-inf', 'LIMIT', 0, 1)[1]
found[1] = rest and on or ''
return found
