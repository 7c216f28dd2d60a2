#!lua flags=allow-oom
-- A publisher takes its leave: rows inactive at once, whoever waits is refused, what runs may end.
-- ARGV: sid, owner, expire_ms
-- Returns: 'ok' · 'gone'
local sid, owner = ARGV[1], ARGV[2]
if call('HGET', P .. 'session:' .. sid, 'owner') ~= owner then return 'gone' end
call('HSET', P .. 'session:' .. sid, 'leaving', '1')
rest_rows(sid, now_ms(), tonumber(ARGV[3]))
for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
  if string.sub(member, 1, 4) == 'llm:' then
    refuse_line(string.sub(member, 5), failure(503, 'publisher_offline', OFFLINE))
    tend(call('SMEMBERS', P .. 'pools-of:' .. string.sub(member, 5)), failure(503, 'publisher_offline', OFFLINE), now_ms())
  end
end
emit('session.goodbye', sid, '')
return 'ok'
