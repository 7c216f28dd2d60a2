#!lua flags=allow-oom
-- Forgets jobs of a batch that have ended: what came of them is on the disk, and Redis need not hold it a day more.
-- ARGV: job ids
-- Returns: how many
local dropped = 0
for _, id in ipairs(ARGV) do
  local j = job_of(id)
  if j and j.state ~= 'queued' and j.state ~= 'running' then
    drop_job(j)
    dropped = dropped + 1
  end
end
return dropped
