#!lua flags=no-writes
-- Where one request is.
-- ARGV: request, owner ('' = an admin's)
-- Returns: {} for none (of that owner's) · {state (waiting | waking | sent | running | cancelling | upstream), llm (in a pool's line what was asked for), priority,
--          place, seconds
--          (both 0 when it is not in a line)}
local tid, owner = attempt_of(ARGV[1]) or ARGV[1], ARGV[2]
local t = call('HMGET', P .. 'task:' .. tid, 'state', 'llm', 'owner', 'priority', 'kind', 'asked')
if not t[1] or t[5] == 'wake' or (owner ~= '' and owner ~= t[3]) then return {} end
local ahead = t[1] == 'waiting' and call('ZRANK', P .. 'waiting:' .. t[2], tid)
if not ahead then return { t[1], t[2], t[4] or '', 0, 0 } end
if string.sub(t[2], 1, 1) == '\1' then
  -- In a pool's line nobody has it yet.
  local key = string.sub(t[2], 2)
  local first = call('ZRANGE', P .. 'order:' .. key, 0, 0)[1]
  local waking = first and call('EXISTS', P .. 'wake:' .. first) == 1
  local slots = math.max(1, tonumber(call('HGET', P .. 'order-load:' .. key, '\3') or '1'))
  return { waking and 'waking' or t[1], t[6], t[4] or '', ahead + 1, wait_s(t[2], ahead + 1, slots) }
end
local row = call('HMGET', P .. 'llm:' .. t[2], 'status', 'slots')
local seconds = wait_s(t[2], ahead + 1, tonumber(row[2]) or 1)
return { row[1] == 'hibernating' and 'waking' or t[1], t[2], t[4] or '', ahead + 1, seconds }
