#!lua flags=no-writes
-- Jobs as they are. Of several, so that whoever watches many asks once.
-- ARGV: owner ('' = an admin's), id, …
-- Returns: for each id {} (none of that owner's) or what `told_job` says (shared/jobs.lua)
local owner, found = ARGV[1], {}
for i = 2, #ARGV do
  local j = told_job(ARGV[i])
  if j and owner ~= '' and string.match(j[3], '\n([^\n]*)$') ~= owner then j = nil end
  found[#found + 1] = j or {}
end
return found
