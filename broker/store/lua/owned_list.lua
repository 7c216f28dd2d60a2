#!lua flags=allow-oom
-- A part of a page of an owner's files or batches: of a long list one call looks at so many rows, and the next goes on.
-- Rows that are gone leave the list as they are met.
-- ARGV: family (file | batch), owner, after ('' from the beginning), limit, newest (1: the newest first), purpose ('' any)
-- Returns: {'unknown'} (no such `after`) · {'end' | 'more' (rows than the limit) | 'on' (the page is not full yet), from which
--          id to go on, then a row each: its fields and values}
local family, owner, after, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local index = family == 'file' and P .. 'files-of:' .. owner or P .. 'batches-of:' .. owner
local reverse = ARGV[5] == '1'
local start = 0
if after ~= '' then
  local rank = call(reverse and 'ZREVRANK' or 'ZRANK', index, after)
  if not rank then return { 'unknown' } end
  start = rank + 1
end
local out = { 'end', after }
local ids = call(reverse and 'ZREVRANGE' or 'ZRANGE', index, start, start + 999)
for _, id in ipairs(ids) do
  local key = P .. family .. ':' .. id
  local purpose = call('HMGET', key, 'id', 'purpose')
  if not purpose[1] then
    call('ZREM', index, id)
  else
    if ARGV[6] == '' or purpose[2] == ARGV[6] then
      if #out - 2 >= limit then
        out[1] = 'more'
        return out
      end
      out[#out + 1] = call('HGETALL', key)
    end
    out[2] = id
  end
end
if #ids == 1000 then out[1] = 'on' end
return out
