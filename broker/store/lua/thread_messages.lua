#!lua flags=no-writes
-- Reads messages of a thread with what is known of their turns: a page of them, or one whole turn.
-- ARGV: thread, owner, first (how many messages come before), limit, turn ('' = a page)
-- Returns: {'unknown'} · {'no_turn'} · {'ok', turn that runs or '', more (0|1), {turn, its error (JSON) …}, {message (JSON) …}}
local id, owner, first, limit, turn = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local key, messages = P .. 'thread:' .. id, P .. 'thread-messages:' .. id
local t = call('HMGET', key, 'owner', 'runningIndex', 'turns')
if t[1] ~= owner then return { 'unknown' } end
local total = call('LLEN', messages)

-- How many messages are of earlier turns: they stand in order, so halving finds it.
local function before(wanted)
  local low, high = 0, total
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(turn_of(call('LINDEX', messages, middle))) < wanted then low = middle + 1 else high = middle end
  end
  return low
end

if turn ~= '' then
  local wanted = tonumber(turn)
  if wanted < 1 or wanted > tonumber(t[3]) then return { 'no_turn' } end
  first = before(wanted)
  limit = before(wanted + 1) - first
end

local errors, looked = {}, {}
local function look(of)
  if looked[of] then return end
  looked[of] = true
  local error = call('HGET', P .. 'thread-errors:' .. id, of)
  if error then
    errors[#errors + 1] = of
    errors[#errors + 1] = error
  end
end

local page = limit > 0 and call('LRANGE', messages, first, first + limit - 1) or {}
if turn ~= '' then look(turn) end
for _, message in ipairs(page) do look(turn_of(message)) end
return { 'ok', t[2] or '', first + #page < total and 1 or 0, errors, page }
