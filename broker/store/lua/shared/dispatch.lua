-- The ways in for a request that a script lets in: a slot at once, a call by its asker, a place in a line.

-- Writes the record of a request that an LLM's publisher, or one of a pool's, is to answer.
local function record(tid, asker, owner, llm, frame, body, deadline, ends, size)
  call('HSET', P .. 'task:' .. tid, 'llm', llm, 'reply', asker, 'owner', owner, 'frame', frame,
    'deadline', int(deadline), 'ends', int(ends), 'size', size, 'state', 'waiting')
  if #body > 0 then call('HSET', P .. 'task:' .. tid, 'body', body) end
  call('SADD', P .. 'asked:' .. asker, tid)
end

-- Takes a slot that is free. Returns the channel to whose publisher the asker itself is to write the frame; nil when it
-- was rung. An asker that holds the channel needs no ring to hear what it says.
local function take_slot(tid, llm, sid, session, now, accept_ms, ends, asker, frame, deadline)
  local here = session.open and session.replica == asker
  deliver(tid, llm, sid, session, now, accept_ms, ends, here and 'here' or '1')
  if here then return session.channel end
  ring(session.replica, session.channel, framed(frame, deadline, now))
end

-- Writes the record of a request that its asker answers itself: for those who cancel it, and of nothing that was asked.
local function record_own(tid, llm, asker, owner, ends)
  call('HSET', P .. 'task:' .. tid, 'llm', llm, 'reply', asker, 'owner', owner, 'state', 'upstream', 'ends', int(ends))
  call('SADD', P .. 'asked:' .. asker, tid)
  call('ZADD', P .. 'timers', int(ends), 'task:' .. tid)
end

-- Lets the asker call a public LLM itself. Returns type, model, url, secret, sealed, key.
local function call_upstream(tid, llm, asker, owner, ends)
  record_own(tid, llm, asker, owner, ends)
  local u = call('HMGET', P .. 'llm:' .. llm, 'type', 'model', 'url', 'apiKeyRef')
  local secret = u[4] or ''
  local s = secret == '' and {} or call('HMGET', P .. 'secret:' .. secret, 'sealed', 'key')
  return u[1] or 'openai', u[2] or llm, u[3] or '', secret, s[1] or '', s[2] or ''
end

-- Seconds until a line that has no room has some again; nil when it has. `size` in bytes.
local function no_room(line, waiting, size, slots, line_count, line_bytes)
  local bytes = tonumber(call('HGET', P .. 'load:' .. line, 'waitingBytes') or '0')
  if waiting < line_count and (waiting == 0 or bytes + size <= line_bytes) then return nil end
  return int(math.min(120, wait_s(line, waiting + 1, slots)))
end

-- Lets a request wait. Returns its place, and the seconds that this may take.
local function wait_in(line, tid, owner, priority, size, slots, ends)
  call('HSET', P .. 'task:' .. tid, 'priority', priority)
  join_line(line, tid, owner, priority, size)
  call('ZADD', P .. 'timers', int(ends), 'task:' .. tid)
  local place = call('ZRANK', P .. 'waiting:' .. line, tid) + 1
  return place, int(wait_s(line, place, slots))
end
