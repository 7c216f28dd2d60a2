-- Kept tasks that nobody waits for: they go on for a grace, and whoever comes in time finds them as they left them.

-- Whether nobody waits for a kept task: neither its asker nor anybody who follows it.
local function is_orphan(tid, state, asker)
  return (state == 'upstream' or asker == '') and call('EXISTS', P .. 'followers:' .. tid) == 0
end

-- Begins the grace of a kept task, if nobody waits for it now; one that began goes on.
local function orphan(tid, now)
  local t = call('HMGET', P .. 'task:' .. tid, 'keep', 'state', 'reply', 'grace')
  if t[1] and tonumber(t[4]) > 0 and is_orphan(tid, t[2], t[3]) then
    call('ZADD', P .. 'timers', 'NX', int(now + tonumber(t[4])), 'orphan:' .. tid)
  end
end

-- A replica is gone, and with it whoever waited there: a task is stopped, unless it is kept. A call to a public LLM ends
-- also then, for nobody else speaks with the upstream.
local function abandon(tid, replica, now, accept_ms)
  local key = P .. 'task:' .. tid
  local t = call('HMGET', key, 'state', 'keep', 'reply', 'llm')
  if not t[1] then return end
  if not t[2] then return cancel(tid, 'client gone', accept_ms) end
  call('SREM', P .. 'asked:' .. replica, tid)
  call('SREM', P .. 'followers:' .. tid, replica)
  if t[3] == replica then
    if t[1] == 'upstream' then
      tell('', tid, failure(503, 'broker_lost', 'the replica of the broker that called the upstream is gone'))
      return forget(tid, nil, t[4], nil, replica)
    end
    call('HSET', key, 'reply', '')
  end
  orphan(tid, now)
end

-- Stops a kept task that nobody came back to in time.
local function orphan_due(tid, accept_ms)
  call('ZREM', P .. 'timers', 'orphan:' .. tid)
  local t = call('HMGET', P .. 'task:' .. tid, 'keep', 'state', 'reply')
  if not t[1] or not is_orphan(tid, t[2], t[3]) then return end
  tell(t[3], tid, failure(499, 'request_cancelled', 'its client left and nobody came back in time'))
  cancel(tid, 'client gone', accept_ms)
end
