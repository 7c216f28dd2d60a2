#!lua flags=allow-oom
-- Ends a turn with the last that it brought, in one step: whoever sees it ended finds all of it. It may come again,
-- when the answer to it was lost.
-- ARGV: thread, token, turn, error (JSON, '' = complete), first event's number, messages before, count, message (JSON) …,
--       (event, data) …
-- Returns: 'ok' · 'lost' (it was ended otherwise by others) · 'gone' (with its thread)
local id, token, turn, error = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local t = call('HMGET', P .. 'thread:' .. id, 'running', 'events', 'keepMs', 'ended')
if not t[1] then return 'gone' end
if t[1] ~= token then
  local failed = call('HEXISTS', P .. 'thread-errors:' .. id, turn) == 1
  return t[4] == token and failed == (error ~= '') and 'ok' or 'lost'
end
write_turn(id, turn, t[2], t[3], 5)
end_turn(id, now_ms(), error ~= '' and error or nil)
return 'ok'
