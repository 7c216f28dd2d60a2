#!lua
-- Keeps the row of a file whose bytes are on the disk, and its place in its owner's list, which ends with its last row.
-- ARGV: id, owner, filename, purpose, bytes, created_s, ttl_ms, most (files of one owner)
-- Returns: 'ok' · 'full'
local id, ttl_ms = ARGV[1], tonumber(ARGV[7])
local index = P .. 'files-of:' .. ARGV[2]
if call('ZCARD', index) >= tonumber(ARGV[8]) then
  -- Rows end by themselves, and leave their place behind.
  for _, old in ipairs(call('ZRANGE', index, 0, 999)) do
    if call('EXISTS', P .. 'file:' .. old) == 0 then call('ZREM', index, old) end
  end
  if call('ZCARD', index) >= tonumber(ARGV[8]) then return 'full' end
end
put_file(id, ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ttl_ms)
return 'ok'
