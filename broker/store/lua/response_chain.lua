#!lua
-- A response and those before it, newest first, as far as they are this owner's. Who goes on from one keeps all of them:
-- their time begins anew in the same step, or one could end between the look and the use.
-- ARGV: id, owner, ttl_ms, limit (rows), bytes (and no further row after so many)
-- Returns: {previous ('' at the first; of the last row that is here), then four a row: id, input, answer, ended}; a row
--          that is not there, or another owner's, ends it: {id of that row}
local id, out, size = ARGV[1], { '' }, 0
for _ = 1, tonumber(ARGV[4]) do
  local key = P .. 'response:' .. id
  local r = call('HMGET', key, 'owner', 'previous', 'input', 'answer', 'ended')
  if r[1] ~= ARGV[2] then
    out[1] = id
    return out
  end
  call('PEXPIRE', key, ARGV[3], 'GT')
  out[#out + 1] = id
  out[#out + 1] = r[3]
  out[#out + 1] = r[4]
  out[#out + 1] = r[5]
  out[1] = r[2]
  size = size + #r[3] + #r[4]
  if r[2] == '' or size > tonumber(ARGV[5]) then return out end
  id = r[2]
end
return out
