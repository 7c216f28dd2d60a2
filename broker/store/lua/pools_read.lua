#!lua flags=no-writes
-- Reads rows of pools.
-- ARGV: name …
-- Returns: for each that is there {fields and values…}
local rows = {}
for _, name in ipairs(ARGV) do
  local row = call('HGETALL', P .. 'pool:' .. name)
  if #row > 0 then rows[#rows + 1] = row end
end
return rows
