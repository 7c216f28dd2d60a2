#!lua flags=allow-oom
-- A page of an owner's files or batches. Rows that ended by themselves leave the list as they are met.
-- ARGV: family (file | batch), owner, after ('' from the beginning), limit, newest (1: the newest first), purpose ('' any)
-- Returns: {'unknown'} (no such `after`) · {more (0|1), then a row each: its fields and values}
local family, owner, after, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local index = family == 'file' and P .. 'files-of:' .. owner or P .. 'batches-of:' .. owner
local reverse = ARGV[5] == '1'
local start = 0
if after ~= '' then
  local rank = call(reverse and 'ZREVRANK' or 'ZRANK', index, after)
  if not rank then return { 'unknown' } end
  start = rank + 1
end
local out = { 0 }
for _, id in ipairs(call(reverse and 'ZREVRANGE' or 'ZRANGE', index, start, start + 999)) do
  local row = call('HGETALL', P .. family .. ':' .. id)
  if #row == 0 then
    call('ZREM', index, id)
  elseif ARGV[6] == '' or call('HGET', P .. family .. ':' .. id, 'purpose') == ARGV[6] then
    if #out > limit then
      out[1] = 1
      return out
    end
    out[#out + 1] = row
  end
end
return out
