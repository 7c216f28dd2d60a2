#!lua flags=allow-oom
-- Takes what a publisher says of its tasks: fences each frame by session and seq, hands it to the
-- replica whose client waits (one stream entry per replica and call), and ends what is ended.
-- ARGV: sid, owner, accept_ms, stale_ms, then six for each item: tid, seq ('' = unnumbered),
--       count of frames, flag (c = goes on, e = ends, a = accept), parts, note ('ok', or '!' and why it failed)
-- Returns: {'gone'} for a session that is not this owner's, else a word per item:
--          '200' · 'cancelled' · '404' · '409:<expected seq>'
local sid, owner, accept_ms, stale_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if call('HGET', P .. 'session:' .. sid, 'owner') ~= owner then return { 'gone' } end
local now = now_ms()
local answers, replies, freed = {}, {}, {}

local function take(tid, seq, count, flag, parts, note)
  local key = P .. 'task:' .. tid
  local t = call('HMGET', key, 'session', 'next', 'state', 'llm', 'reply', 'kind', 'entry', 'started', 'ends', 'keep')
  if t[1] ~= sid then return '404' end
  if flag == 'a' then
    if t[3] == 'sent' and t[9] then
      call('HSET', key, 'state', 'running')
      call('ZADD', P .. 'timers', t[9], 'task:' .. tid)
    end
    return t[3] == 'cancelling' and 'cancelled' or '200'
  end
  if t[6] == 'wake' then
    if flag ~= 'e' then return '200' end
    if note == 'ok' then
      call('SET', P .. 'alive:' .. sid, int(now), 'PX', int(stale_ms))
      call('HSET', P .. 'session:' .. sid, 'heartbeatAt', int(now))
      call('ZADD', P .. 'heartbeats', int(now), sid)
      wake_succeeded(t[4], now, accept_ms)
    else
      wake_failed(t[4], 'wake_failed', string.sub(note, 2))
    end
    return '200'
  end
  if seq ~= '' then
    local expected, first = tonumber(t[2] or '0'), tonumber(seq)
    if first > expected then return '409:' .. int(expected) end
    if first + count <= expected then return t[3] == 'cancelling' and 'cancelled' or '200' end
    if first < expected then return '409:' .. int(expected) end
    if flag == 'c' then call('HSET', key, 'next', int(first + count), 'state', t[3] == 'sent' and 'running' or t[3]) end
  elseif flag == 'c' then
    call('HSET', key, 'state', t[3] == 'sent' and 'running' or t[3], 'spoke', '1')
  end
  if t[3] == 'sent' and flag == 'c' then call('ZADD', P .. 'timers', t[9], 'task:' .. tid) end
  local over = false
  if t[10] and t[3] ~= 'cancelling' then
    parts, over = keep_parts(tid, parts)
  end
  if t[5] and t[5] ~= '' and t[3] ~= 'cancelling' then
    local reply = replies[t[5]] or {}
    replies[t[5]] = reply
    reply[#reply + 1] = tid
    reply[#reply + 1] = parts
  end
  if flag == 'e' then
    forget(tid, sid, t[4], t[7], t[5])
    -- How long failing takes says nothing of how long answers do.
    freed[t[4]] = note == 'ok' and now - tonumber(t[8] or now) or freed[t[4]] or false
  elseif over then
    -- There was no room for more.
    cancel(tid, 'too large', accept_ms)
    return 'cancelled'
  end
  return t[3] == 'cancelling' and 'cancelled' or '200'
end

for i = 5, #ARGV, 6 do
  answers[#answers + 1] = take(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
end
for replica, reply in pairs(replies) do
  if not call('XADD', P .. 'reply:' .. replica, 'NOMKSTREAM', '*', unpack(reply)) then
    -- Whoever asked is gone with its replica: stop the work instead of feeding nobody, unless it is kept.
    for i = 1, #reply, 2 do abandon(reply[i], replica, now, accept_ms) end
  end
end
for llm, took in pairs(freed) do promote(llm, now, accept_ms, took) end
return answers
