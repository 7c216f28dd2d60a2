#!lua
-- Accepts one request: a lease and a place in the session's stream, or a place in the line,
-- and the one wake when the LLM sleeps. The choice and its effect must be one step, or two
-- replicas would take the same slot or wake twice.
-- ARGV: llm, tid, asker (replica), owner, frame (JSON up to `"deadlineMs":`; '' when the
--       LLM is held to be public), body ('' when in
--       the frame), deadline_ms (relative), lease_grace_ms, line_count, line_bytes, wake_limit_ms,
--       accept_ms, stale_ms, expire_ms, priority (interactive | normal | batch), may_wake (0|1),
--       kept ('', or how its reply is kept: `keep`, shared/kept.lua); for a request that can be said in two languages
--       also: native (its operation in the one that not every publisher understands), natively (1: the frame is said in it)
-- Returns: {'sent'} · {'sent', channel} (the asker is to write it there) · {'waiting', place, seconds} · {'waking', place, seconds} ·
--          {'full', retry_seconds} · {'offline'} · {'asleep'} (and the asker may not wake) · {'unknown'} · {'public', type, model, url, secret, sealed, key} ·
--          {'virtual'} · {'virtual', 'native'} (come again with the frame, or with it in that language) ·
--          {'kept', tid} (that task answers, or answered, the same idempotent call) · {'mismatch'} (its key was another call's)
local llm, tid, asker, owner, frame, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local deadline_ms, grace_ms = tonumber(ARGV[7]), tonumber(ARGV[8])
local line_count, line_bytes = tonumber(ARGV[9]), tonumber(ARGV[10])
local wake_limit_ms, accept_ms = tonumber(ARGV[11]), tonumber(ARGV[12])
local priority, may_wake = ARGV[15], ARGV[16] == '1'
local kept = ARGV[17]

if kept ~= '' then
  local before, same = asked_before(kept)
  if before then return same and { 'kept', before } or { 'mismatch' } end
end
local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'status', 'session', 'slots', 'inactiveSince', 'hold')
if not row[1] then return { 'unknown' } end
local now = now_ms()
local deadline = now + deadline_ms
local ends = deadline + grace_ms
if row[1] == 'public' then
  local target = { 'public', call_upstream(tid, llm, asker, owner, ends) }
  if kept ~= '' then keep(tid, owner, asker, kept, ends - now) end
  return target
end
local status, _, gone = seen('llm:' .. llm, row[2], row[5], row[3], now, tonumber(ARGV[13]), tonumber(ARGV[14]))
if gone then return { 'unknown' } end
if ARGV[18] then
  -- What its publisher said that it takes: a JSON list of plain words.
  local taken = call('HGET', P .. 'llm:' .. llm, 'operations') or ''
  local native = string.find(taken, '"' .. ARGV[18] .. '"', 1, true) ~= nil
  if frame == '' or native ~= (ARGV[19] == '1') then return { 'virtual', native and 'native' or nil } end
elseif frame == '' then
  return { 'virtual' }
end
local sid = row[3]
local session = session_of(sid)
if status == 'inactive' or not session or not session.reachable or session.leaving then return { 'offline' } end
if call('EXISTS', P .. 'task:' .. tid) == 1 then return { 'sent' } end

local waiting = call('ZCARD', P .. 'waiting:' .. llm)
local slots = tonumber(row[4]) or 1
local held = row[6] == '1'
local free = status == 'active' and not held and waiting == 0 and call('ZCOUNT', P .. 'leases:' .. llm, int(now), '+inf') < slots
local size = #frame + #body
if not free then
  if status == 'hibernating' and not may_wake and call('EXISTS', P .. 'wake:' .. llm) == 0 then return { 'asleep' } end
  local full_s = no_room(llm, waiting, size, slots, line_count, line_bytes)
  if full_s then return { 'full', full_s } end
end

record(tid, asker, owner, llm, frame, body, deadline, ends, size)
if not free and not may_wake then call('HSET', P .. 'task:' .. tid, 'noWake', '1') end
if kept ~= '' then keep(tid, owner, asker, kept, ends - now) end
if free then return { 'sent', take_slot(tid, llm, sid, session, now, accept_ms, ends, asker, frame, deadline) } end
local place, seconds = wait_in(llm, tid, owner, priority, size, slots, ends)
-- One that is held sleeps next and wakes again for its line: the wait for a slot begins after that.
if status ~= 'hibernating' then return { held and 'waking' or 'waiting', place, seconds } end
start_wake(llm, sid, session, now, wake_limit_ms)
return { 'waking', place, seconds }
