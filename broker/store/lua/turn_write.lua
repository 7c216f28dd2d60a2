#!lua flags=allow-oom
-- Writes events and finished messages of a running turn, and says whether somebody wants it to stop. The same batch may
-- come again, when the answer to it was lost.
-- ARGV: thread, token, hold_ms, first event's number, messages before, count, message (JSON) …, (event, data) …
-- Returns: 'ok' · 'cancelled' (it was written) · 'lost' (ended by others; nothing was written) · 'gone' (with its thread)
local id = ARGV[1]
local t = call('HMGET', P .. 'thread:' .. id, 'running', 'runningIndex', 'events', 'cancel')
if t[1] ~= ARGV[2] then return t[1] and 'lost' or 'gone' end
write_turn(id, t[2], t[3], ARGV[3], 4)
return t[4] and 'cancelled' or 'ok'
