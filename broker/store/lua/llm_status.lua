#!lua flags=allow-oom
-- A publisher says that its backend is up, asleep, or up for what runs only (`draining`: the row is held, and requests
-- wait in its line). Falling asleep is refused while work is running or, unless the row is held, queued: the look
-- and the change must be one step, or a request would be lost. Who waits when a held one sleeps wakes it again.
-- ARGV: sid, owner, llm, status (active | draining | hibernating), accept_ms, wake_limit_ms
-- Returns: 'ok' · 'gone' · 'unknown' · 'busy'
local sid, owner, llm, status = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local accept_ms, wake_limit_ms = tonumber(ARGV[5]), tonumber(ARGV[6])
local key = P .. 'llm:' .. llm
if call('HGET', P .. 'session:' .. sid, 'owner') ~= owner then return 'gone' end
local row = call('HMGET', key, 'session', 'status', 'hold')
if row[1] ~= sid then return 'unknown' end
local was, held = row[2], row[3] == '1'
local now = now_ms()
if status == 'hibernating' then
  local queued = not held and call('EXISTS', P .. 'waiting:' .. llm) == 1
  if queued or call('ZCARD', P .. 'leases:' .. llm) > 0 or call('EXISTS', P .. 'wake:' .. llm) == 1 then return 'busy' end
end
-- One that just woke is held only when it was given work for its slots: else it might sleep again having served nobody.
if status == 'draining' and was == 'hibernating' then wake_succeeded(llm, now, accept_ms) end
if status == 'draining' then call('HSET', key, 'hold', '1') else call('HDEL', key, 'hold') end
if was == 'inactive' then
  call('HSET', key, 'before', status == 'hibernating' and status or 'active')
elseif status == 'hibernating' then
  if was ~= status then
    call('HSET', key, 'status', status, 'updatedAt', int(now))
    rerank(llm)
    emit('llm.hibernating', llm, 'publisher')
  end
  if held then attend(llm, sid, now, accept_ms, wake_limit_ms) end
elseif status == 'draining' then
  if not held then
    rerank(llm)
    emit('llm.draining', llm, 'publisher')
  end
  stop_wait(llm)
  tend(call('SMEMBERS', P .. 'pools-of:' .. llm), failure(503, 'publisher_offline', OFFLINE), now)
elseif was ~= 'active' or held then
  wake_succeeded(llm, now, accept_ms)
end
return 'ok'
