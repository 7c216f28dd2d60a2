#!lua
-- Accepts one request for whichever member of a pool is best: a lease there, or a place in the pool's line, and a wake
-- when the warm ones are full. The choice and the lease must be one step, or two replicas would fill one member while
-- another is idle.
-- ARGV: asked, tid, asker (replica), owner, frame (JSON up to `"llmName":`), tail (from the comma after it up to
--       `"deadlineMs":`), body ('' when in the frame), deadline_ms (relative), lease_grace_ms, line_count, line_bytes,
--       wake_limit_ms, accept_ms, stale_ms, expire_ms, priority, may_wake (0|1), kept ('', or how its reply is kept:
--       `keep`, shared/kept.lua), affinity ('' = none), left_out ("\nname\n…": members that failed it), request (what the
--       client knows it by), kinds (what the name may be of, in order: a alias, p pool, m model)
-- Returns: {'sent', llm, why, channel ('' when it was rung)} · {'public', llm, why, type, model, url, secret, sealed, key} ·
--          {'waiting', place, seconds} · {'waking', place, seconds} · {'full', retry_seconds} · {'asleep'} (and the asker
--          may not wake) · {'offline', when the last one was seen (ms), '' for never} · {'unknown'} · {'kept', tid} and
--          {'mismatch'} as of task_dispatch
local asked, tid, asker, owner, frame, tail, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local deadline_ms, grace_ms, line_count, line_bytes = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local wake_limit_ms, accept_ms, stale_ms, expire_ms = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
local priority, may_wake, kept, affinity = ARGV[16], ARGV[17] == '1', ARGV[18], ARGV[19]
local left_out, request, kinds = ARGV[20], ARGV[21], ARGV[22]

if kept ~= '' then
  local earlier, same = asked_before(kept)
  if earlier then return same and { 'kept', earlier } or { 'mismatch' } end
end
if call('EXISTS', P .. 'task:' .. tid) == 1 then return { 'waiting', 1, 1 } end
local now = now_ms()
local deadline = now + deadline_ms
local ends = deadline + grace_ms

-- What is asked for is the first pool of that name that has members, or a row.
local key, candidates, passed
for _, one in ipairs(pools_asked(asked, kinds)) do
  use_pool(one, ends - now)
  candidates, passed = candidates_of(one, left_out, now, stale_ms, expire_ms)
  if #candidates + passed > 0 or string.sub(one, 1, 1) == 'p' then
    key = one
    break
  end
end
if not key then return { 'unknown' } end
if string.sub(key, 1, 1) == 'p' and call('HGET', P .. 'pool:' .. asked, 'affinity') == '0' then affinity = '' end
if affinity ~= '' then compare_turns(key, candidates, now) end
weigh(candidates)
if not may_wake and candidates[1] and candidates[1].band == ASLEEP then
  -- Whoever is awake comes before those that it may not wake, of whichever tier.
  local awake = candidates_of(key, left_out, now, stale_ms, expire_ms, true)
  weigh(awake)
  if awake[1] and awake[1].band < AWAY then candidates = awake end
end

local line = line_of_pool(key)
local waiting = call('ZCARD', P .. 'waiting:' .. line)
local best, why = candidates[1], 'least loaded'
local warm_full, waking = false, false
for _, m in ipairs(candidates) do
  warm_full = warm_full or m.band == FULL
  waking = waking or (m.band == ASLEEP and call('EXISTS', P .. 'wake:' .. m.llm) == 1)
end
-- Who waits goes first; but nobody in a line is given to a public member, so that one is free for whoever comes.
local free = best and (best.band == 0 and waiting == 0 or best.band == 1)
local probe = due_probe(key, left_out, now, stale_ms, expire_ms, free and best, tid)
if probe then
  best, free, why = probe, true, 'probe'
elseif free and affinity ~= '' then
  local liked = favourite(key, best, affinity, left_out, now, stale_ms, expire_ms)
  if liked then best, why = liked, 'affinity' end
elseif best and best.band == BROKEN and not warm_full and waiting == 0 and not (best.slots and best.leases >= best.slots) then
  -- All that are there are broken: from one of them the client hears what is wrong, rather than nothing.
  free, why = true, 'last resort'
end

-- For whoever asks why: of each attempt a bounded text, of names and numbers only.
local function told(verdict)
  local looked_at = {}
  for i, m in ipairs(candidates) do
    looked_at[i] = { m.llm, m.band, m.tier, m.leases, m.slots or 0, m.score, m.avg_ms }
  end
  orders().explain(request, {
    owner = owner, task = tid, asked = asked, pool = key, at = now, verdict = verdict, llm = free and best.llm or '',
    why = free and why or '', candidates = looked_at, waiting = waiting,
  })
  return verdict
end

local size = #frame + #body + #tail
if not free then
  if not best or best.band >= AWAY then
    local last = 0
    for _, m in ipairs(candidates) do
      local at = m.sid and call('HGET', P .. 'session:' .. m.sid, 'heartbeatAt') or call('HGET', P .. 'llm:' .. m.llm, 'lastHeartbeatAt')
      last = math.max(last, tonumber(at or '') or 0)
    end
    return { told('offline'), last > 0 and int(last) or '' }
  end
  local sleepers_only = best.band == ASLEEP and not warm_full
  if sleepers_only and not may_wake and not waking then return { told('asleep') } end
  local slots = math.max(1, tonumber(call('HGET', P .. 'order-load:' .. key, '\3') or '1'))
  local full_s = no_room(line, waiting, size, slots, line_count, line_bytes)
  if full_s then return { told('full'), full_s } end
  record(tid, asker, owner, line, frame, body, deadline, ends, size)
  call('HSET', P .. 'task:' .. tid, 'tail', tail, 'asked', asked, 'not', left_out, 'request', request)
  if may_wake then call('HSET', P .. 'task:' .. tid, 'wakeLimit', int(wake_limit_ms)) end
  if affinity ~= '' then call('HSET', P .. 'task:' .. tid, 'affinity', key .. ':' .. affinity) end
  if kept ~= '' then keep(tid, owner, asker, kept, ends - now) end
  local place, seconds = wait_in(line, tid, owner, priority, size, slots, ends)
  call('PEXPIRE', P .. 'load:' .. line, int(3600000 + ends - now))
  local woken = best.band == ASLEEP and (may_wake or waking) or best.held
  if woken then call('HSET', P .. 'task:' .. tid, 'waking', '1') end
  local verdict = told(woken and 'waking' or 'waiting')
  local broken = call('ZRANGE', P .. 'broken:' .. key, 0, 2, 'WITHSCORES')
  for i = 1, #broken, 2 do probe_later(broken[i], broken[i + 1]) end
  if best.band ~= ASLEEP then
    -- Who waits may be whom a free member failed; the others take their turns.
    for _, m in ipairs(candidates) do
      if m.band == 0 then promote(m.llm, now, accept_ms) end
    end
  elseif may_wake then
    -- One that wakes already takes as many as it has slots; beyond those another is woken.
    local room = 0
    for _, m in ipairs(candidates) do
      if m.band == ASLEEP and room <= waiting then
        start_wake(m.llm, m.sid, session_of(m.sid), now, wake_limit_ms)
        room = room + m.slots
      end
    end
  end
  return { verdict, place, seconds }
end

told('sent')
if affinity ~= '' and best.band < ASLEEP then
  call('SET', P .. 'affinity:' .. key .. ':' .. affinity, best.llm, 'PX', 900000)
  orders().count_turn(key, best.llm, orders().class_of(best, best.tier), now)
end
if best.kind == 'public' then
  call('ZADD', P .. 'leases:' .. best.llm, int(ends), tid)
  rerank(best.llm)
  local target = { 'public', best.llm, why, call_upstream(tid, best.llm, asker, owner, ends) }
  if kept ~= '' then keep(tid, owner, asker, kept, ends - now) end
  return target
end
local whole = frame .. cjson.encode(best.llm) .. tail
record(tid, asker, owner, best.llm, whole, body, deadline, ends, size)
if kept ~= '' then keep(tid, owner, asker, kept, ends - now) end
local channel = take_slot(tid, best.llm, best.sid, session_of(best.sid), now, accept_ms, ends, asker, whole, deadline)
return { 'sent', best.llm, why, channel or '' }
