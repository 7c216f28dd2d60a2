#!lua
-- Accepts one request: a lease and a place in the session's stream, or a place in the line,
-- and the one wake when the LLM sleeps. The choice and its effect must be one step, or two
-- replicas would take the same slot or wake twice.
-- ARGV: llm, tid, asker (replica), owner, frame (JSON up to `"deadlineMs":`; '' when the
--       LLM is held to be public), body ('' when in
--       the frame), deadline_ms (relative), lease_grace_ms, line_count, line_bytes, wake_limit_ms,
--       accept_ms, stale_ms, expire_ms; for a request that can be said in two languages also: native (its operation
--       in the one that not every publisher understands), natively (1: the frame is said in it)
-- Returns: {'sent'} · {'sent', channel} (the asker is to write it there) · {'waiting', position} · {'waking', position} · {'full', retry_seconds} ·
--          {'offline'} · {'unknown'} · {'public', type, model, url, secret, sealed, key} ·
--          {'virtual'} · {'virtual', 'native'} (come again with the frame, or with it in that language)
local llm, tid, asker, owner, frame, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local deadline_ms, grace_ms = tonumber(ARGV[7]), tonumber(ARGV[8])
local line_count, line_bytes = tonumber(ARGV[9]), tonumber(ARGV[10])
local wake_limit_ms, accept_ms = tonumber(ARGV[11]), tonumber(ARGV[12])

local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'status', 'session', 'slots', 'inactiveSince')
if not row[1] then return { 'unknown' } end
local now = now_ms()
local deadline = now + deadline_ms
local ends = deadline + grace_ms
if row[1] == 'public' then
  -- The asker calls the upstream itself. The record is for those who cancel it, and of nothing that was asked.
  call('HSET', P .. 'task:' .. tid, 'llm', llm, 'reply', asker, 'owner', owner, 'state', 'upstream', 'ends', int(ends))
  call('SADD', P .. 'asked:' .. asker, tid)
  call('ZADD', P .. 'timers', int(ends), 'task:' .. tid)
  local u = call('HMGET', P .. 'llm:' .. llm, 'type', 'model', 'url', 'apiKeyRef')
  local secret = u[4] or ''
  local s = secret == '' and {} or call('HMGET', P .. 'secret:' .. secret, 'sealed', 'key')
  return { 'public', u[1] or 'openai', u[2] or llm, u[3] or '', secret, s[1] or '', s[2] or '' }
end
local status, _, gone = seen('llm:' .. llm, row[2], row[5], row[3], now, tonumber(ARGV[13]), tonumber(ARGV[14]))
if gone then return { 'unknown' } end
if ARGV[15] then
  -- What its publisher said that it takes: a JSON list of plain words.
  local taken = call('HGET', P .. 'llm:' .. llm, 'operations') or ''
  local native = string.find(taken, '"' .. ARGV[15] .. '"', 1, true) ~= nil
  if frame == '' or native ~= (ARGV[16] == '1') then return { 'virtual', native and 'native' or nil } end
elseif frame == '' then
  return { 'virtual' }
end
local sid = row[3]
local session = session_of(sid)
if status == 'inactive' or not session or not session.reachable or session.leaving then return { 'offline' } end
if call('EXISTS', P .. 'task:' .. tid) == 1 then return { 'sent' } end

local leases, line = P .. 'leases:' .. llm, P .. 'waiting:' .. llm
local waiting = call('ZCARD', line)
local slots = tonumber(row[4]) or 1
local free = status == 'active' and waiting == 0 and call('ZCOUNT', leases, int(now), '+inf') < slots
local size = #frame + #body
if not free then
  local load = call('HMGET', P .. 'load:' .. llm, 'waitingBytes', 'avgMs')
  if waiting >= line_count or (waiting > 0 and tonumber(load[1] or '0') + size > line_bytes) then
    local ms = tonumber(load[2] or '2000') * (waiting + 1) / slots
    return { 'full', int(math.min(120, math.max(1, math.ceil(ms / 1000)))) }
  end
end

call('HSET', P .. 'task:' .. tid, 'llm', llm, 'reply', asker, 'owner', owner, 'frame', frame,
  'deadline', int(deadline), 'ends', int(ends), 'size', size, 'state', 'waiting')
if #body > 0 then call('HSET', P .. 'task:' .. tid, 'body', body) end
call('SADD', P .. 'asked:' .. asker, tid)
if free then
  -- An asker that holds the channel itself needs no ring to hear what it says.
  local here = session.open and session.replica == asker
  deliver(tid, llm, sid, session, now, accept_ms, ends, here and 'here' or '1')
  if here then return { 'sent', session.channel } end
  ring(session.replica, session.channel, framed(frame, deadline, now))
  return { 'sent' }
end
call('ZADD', line, call('INCR', P .. 'arrivals'), tid)
call('HINCRBY', P .. 'load:' .. llm, 'waitingBytes', size)
call('ZADD', P .. 'timers', int(ends), 'task:' .. tid)
if status ~= 'hibernating' then return { 'waiting', waiting + 1 } end
start_wake(llm, sid, session, now, wake_limit_ms)
return { 'waking', waiting + 1 }
