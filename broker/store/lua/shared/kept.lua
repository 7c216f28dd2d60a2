-- Kept replies. What a kept task's publisher says goes to the stream `kept:<tid>` too, where any replica can read it from any
-- place, until some time after the end. Also `tell`, by which every script says to a client's replica how it stands.

-- How a reply ends: the status it began with or failed with, the failure's code ('' for an answer) and message, and whether
-- these parts end it.
local function ending(parts)
  local status, code, message, ended, at = nil, '', '', false, 1
  while at <= #parts do
    local letter, colon = string.sub(parts, at, at), string.find(parts, ':', at, true)
    local size = tonumber(string.sub(parts, at + 1, colon - 1))
    if letter == 'H' then
      status = status or tonumber(string.match(string.sub(parts, colon + 1, colon + size), '"status":(%d+)'))
    elseif letter == 'E' then
      local why = cjson.decode(string.sub(parts, colon + 1, colon + size))
      status, code, message, ended = why.status, why.code, why.message, true
    elseif letter == 'D' then
      ended = true
    end
    at = colon + size + 1
  end
  return status, code, message, ended
end

-- Lets a new task's reply be kept; the task lives at most so many `ms`. `words`: ttl_ms (after its end), room_bytes,
-- grace_ms (0: it may be without a reader for ever), followed (0: nobody waits for it yet), and for an idempotent call
-- its key, the request's fingerprint, the key's ttl_ms.
local function keep(tid, owner, asker, words, ms)
  local key, w = P .. 'task:' .. tid, {}
  for word in string.gmatch(words, '%S+') do w[#w + 1] = word end
  call('HSET', key, 'keep', w[1], 'room', w[2], 'grace', w[3])
  call('XADD', P .. 'kept:' .. tid, '*', 'o', owner)
  call('PEXPIRE', P .. 'kept:' .. tid, int(ms + tonumber(w[1])))
  if call('HGET', key, 'state') == 'upstream' then
    -- Its asker calls the upstream, and waits for the reply as others would.
    if w[4] == '1' then call('SADD', P .. 'followers:' .. tid, asker) end
  elseif w[4] == '0' then
    call('HSET', key, 'reply', '')
    call('SREM', P .. 'asked:' .. asker, tid)
  end
  if w[5] then
    call('HSET', key, 'idem', w[5])
    call('SET', P .. 'idem:' .. w[5], tid .. ' ' .. w[6], 'PX', w[7])
  end
end

-- The task that answered, or answers, the same idempotent call, and whether it was asked just that; nil for none.
local function asked_before(words)
  local idem, fingerprint = string.match(words, '^%S+ %S+ %S+ %d (%S+) (%S+)')
  local held = idem and call('GET', P .. 'idem:' .. idem)
  if not held then return nil end
  local tid, asked = string.match(held, '^(%S+) (%S+)$')
  -- Without its reply the key says nothing any more: Redis lost that.
  if call('EXISTS', P .. 'kept:' .. tid) == 0 then return nil end
  return tid, asked == fingerprint
end

-- The end of a kept reply, by whatever ended it, in the same step: all that hangs on that hangs here. `status` is the
-- answer's or the failure's, `code` and `message` the failure's or ''. A failed attempt of an idempotent call frees its key; one of a job decides what
-- becomes of that.
local function kept_ended(tid, status, code, message)
  local key = P .. 'task:' .. tid
  local t = call('HMGET', key, 'keep', 'idem', 'job')
  call('HDEL', key, 'keep')
  call('PEXPIRE', P .. 'kept:' .. tid, t[1])
  for _, replica in ipairs(call('SMEMBERS', P .. 'followers:' .. tid)) do call('SREM', P .. 'asked:' .. replica, tid) end
  call('DEL', P .. 'followers:' .. tid)
  call('ZREM', P .. 'timers', 'orphan:' .. tid)
  if t[2] and (status == 429 or status >= 499) then
    local held = call('GET', P .. 'idem:' .. t[2])
    if held and string.match(held, '^%S+') == tid then call('DEL', P .. 'idem:' .. t[2]) end
  end
  if t[3] then job_ended(t[3], tid, status, code, message) end
end

-- Adds parts to a kept reply, and ends it with the last. Returns them as its asker is to hear them, after the entry's id;
-- and whether that was its end. Where there is no room for them it ends with saying so.
local function keep_parts(tid, parts)
  local key = P .. 'task:' .. tid
  local status, code, message, ended = ending(parts)
  if code == '' and call('HINCRBY', key, 'room', -#parts) < 0 then
    status, code, message, ended = 502, 'backend_error', 'the answer is larger than may be kept', true
    parts = failure(status, code, message)
  end
  local entry = call('XADD', P .. 'kept:' .. tid, '*', 'p', parts)
  if ended then
    -- Of several heads the first counts, as for those who read them.
    local first = code == '' and call('HGET', key, 'status')
    kept_ended(tid, tonumber(first or status or 200), code, message)
  elseif status then
    call('HSETNX', key, 'status', status)
  end
  return part('K', entry) .. parts, ended
end

-- Hands parts to the replica whose client waits, and a refusal to whoever else follows. A replica that was reaped has
-- no stream: then nobody waits any more, and nothing is kept. Of a kept task that nobody waits for it is ''.
local function tell(replica, tid, parts)
  if string.sub(parts, 1, 1) == 'E' and call('HEXISTS', P .. 'task:' .. tid, 'keep') == 1 then
    parts = keep_parts(tid, parts)
  end
  if replica and replica ~= '' then
    call('XADD', P .. 'reply:' .. replica, 'NOMKSTREAM', '*', tid, parts)
  end
end
