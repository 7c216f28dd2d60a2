#!lua flags=allow-oom
-- A publisher says that its backend is up, or asleep. Falling asleep is refused while work is
-- queued or running: the look and the change must be one step, or a request would be lost.
-- ARGV: sid, owner, llm, status (active | hibernating), accept_ms
-- Returns: 'ok' · 'gone' · 'unknown' · 'busy'
local sid, owner, llm, status = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if call('HGET', P .. 'session:' .. sid, 'owner') ~= owner then return 'gone' end
local row = call('HMGET', P .. 'llm:' .. llm, 'session', 'status')
if row[1] ~= sid then return 'unknown' end
local now = now_ms()
if status == 'hibernating' then
  if call('ZCARD', P .. 'leases:' .. llm) > 0 or call('EXISTS', P .. 'waiting:' .. llm, P .. 'wake:' .. llm) > 0 then
    return 'busy'
  end
end
if row[2] == 'inactive' then
  call('HSET', P .. 'llm:' .. llm, 'before', status)
elseif status == 'active' then
  if row[2] ~= 'active' then wake_succeeded(llm, now, tonumber(ARGV[5])) end
elseif row[2] ~= status then
  call('HSET', P .. 'llm:' .. llm, 'status', status, 'updatedAt', int(now))
  emit('llm.' .. status, llm, 'publisher')
end
return 'ok'
