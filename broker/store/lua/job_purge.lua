#!lua flags=allow-oom
-- Forgets the ended jobs of an owner that are in one state, and what was answered to them; a piece of the list at a time.
-- ARGV: owner, state, before (score of the last one that was looked at; '' = from the newest), scan
-- Returns: {how many, score to go on from ('' = that was all)}
local owner, state, before = ARGV[1], ARGV[2], ARGV[3]
local ids = call('ZREVRANGEBYSCORE', P .. 'jobs-of:' .. owner, before == '' and '+inf' or '(' .. before, '-inf',
  'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[4]))
local dropped = 0
for i = 1, #ids, 2 do
  local j = job_of(ids[i])
  if j and j.state == state then
    drop_job(j)
    dropped = dropped + 1
  end
end
return { dropped, ids[#ids] or '' }
