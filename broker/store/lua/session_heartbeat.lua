#!lua flags=allow-oom
-- One heartbeat for every row of a session; the inactive ones come back to what they were.
-- ARGV: sid, owner, stale_ms, expire_ms
-- Returns: 'ok' · 'gone' (register again)
local sid, owner = ARGV[1], ARGV[2]
if call('HGET', P .. 'session:' .. sid, 'owner') ~= owner then return 'gone' end
if not beat(sid, now_ms(), tonumber(ARGV[3]), tonumber(ARGV[4])) then return 'gone' end
return 'ok'
