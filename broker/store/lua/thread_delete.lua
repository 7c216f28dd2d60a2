#!lua flags=allow-oom
-- Deletes a thread with all that was said in it. A turn that runs is ended first, so that its replica stops it and
-- whoever follows it is told; those events go a few seconds later.
-- ARGV: id, owner
-- Returns: 'ok' · 'unknown'
local id, owner = ARGV[1], ARGV[2]
local key = P .. 'thread:' .. id
local t = call('HMGET', key, 'owner', 'agent', 'running', 'runningIndex', 'turns')
if t[1] ~= owner then return 'unknown' end
local running = t[3] ~= '' and tonumber(t[4]) or nil
if running then
  break_turn(id, now_ms(), 499, 'cancelled', 'the thread was deleted')
  call('PEXPIRE', P .. 'thread-events:' .. id .. ':' .. t[4], 5000)
end
for turn = 1, tonumber(t[5]) do
  if turn ~= running then call('DEL', P .. 'thread-events:' .. id .. ':' .. turn) end
end
call('DEL', key, P .. 'thread-messages:' .. id, P .. 'thread-errors:' .. id)
local all, with = shelves(owner, t[2])
call('ZREM', all, id)
call('ZREM', with, id)
return 'ok'
