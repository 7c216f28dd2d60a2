#!lua flags=allow-oom
-- Forgets a file; its bytes go after. Its place in the list stays until a listing meets it, so that who deletes page by page
-- can go on after one that is gone. What a batch reads that is under way stays.
-- ARGV: id, owner
-- Returns: 'unknown' (none of that owner's) · the batch that reads it · ''
local key = P .. 'file:' .. ARGV[1]
if call('HGET', key, 'owner') ~= ARGV[2] then return 'unknown' end
for _, batch in ipairs(call('ZRANGE', P .. 'batches', 0, 999)) do
  if call('HGET', P .. 'batch:' .. batch, 'input') == ARGV[1] then return batch end
end
call('DEL', key)
return ''
