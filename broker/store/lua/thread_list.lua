#!lua flags=no-writes
-- An owner's threads, the one with the latest activity first, from behind the thread `after` on. An agent that is gone
-- is still known by the threads with it.
-- ARGV: owner, agent (its id or name; '' = every one), after ('' = from the first), limit
-- Returns: {'ok', more (0|1), {fields and values…} …} · {'unknown'} (the agent) · {'no_after'}
local owner, agent, after, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local list = shelves(owner, '')
if agent ~= '' then
  local name = call('HGET', P .. 'agent-ids', agent) or agent
  local _, with = shelves(owner, name)
  list = with
  if call('EXISTS', list, P .. 'agent:' .. name) == 0 then return { 'unknown' } end
end
local first = 0
if after ~= '' then
  local rank = call('ZREVRANK', list, after)
  if not rank then return { 'no_after' } end
  first = rank + 1
end
local ids = call('ZREVRANGE', list, first, first + limit)
local found = { 'ok', #ids > limit and 1 or 0 }
for i = 1, math.min(limit, #ids) do found[#found + 1] = call('HGETALL', P .. 'thread:' .. ids[i]) end
return found
