-- Rows: what keeps one, how one goes with all that hangs on it, how a heartbeat brings them back, what readers see.

local function drop_agent(name)
  local row = call('HMGET', P .. 'agent:' .. name, 'id', 'session', 'llm', 'project', 'personality')
  if not row[1] then return 0 end
  call('DEL', P .. 'agent:' .. name)
  call('SREM', P .. 'agents', name)
  call('HDEL', P .. 'agent-ids', row[1])
  call('ZREM', P .. 'expiring:agent', 'agent:' .. name)
  if row[3] then call('SREM', P .. 'llm-agents:' .. row[3], name) end
  if row[4] then call('SREM', P .. 'project-agents:' .. row[4], name) end
  if row[5] then call('SREM', P .. 'personality-agents:' .. row[5], name) end
  emit('agent.deleted', name, '')
  if row[2] then leave_session(row[2], 'agent:' .. name) end
  return 1
end

-- Refuses the tasks of one LLM that are at `sid`, and tells the publisher to stop them.
local function lose_tasks_of(llm, sid, message)
  local session = session_of(sid)
  for _, tid in ipairs(call('ZRANGE', P .. 'leases:' .. llm, 0, -1)) do
    local t = call('HMGET', P .. 'task:' .. tid, 'session', 'entry', 'reply')
    if t[1] == sid then
      tell(t[3], tid, failure(503, 'publisher_offline', message))
      if session then
        ring(session.replica, session.channel, cjson.encode({ kind = 'cancel', taskId = tid, reason = 'unpublished' }))
      end
      forget(tid, sid, llm, t[2], t[3])
    end
  end
end

-- Names of the public agents that are pinned to an LLM: those keep it from expiring.
local function public_agents(llm)
  local names = {}
  for _, agent in ipairs(call('SMEMBERS', P .. 'llm-agents:' .. llm)) do
    if call('HGET', P .. 'agent:' .. agent, 'kind') == 'public' then names[#names + 1] = agent end
  end
  return names
end

-- Whether a row stays beyond its time, inactive: an LLM that public agents are pinned to does.
local function kept(member)
  return string.sub(member, 1, 4) == 'llm:' and #public_agents(string.sub(member, 5)) > 0
end

-- Gives an LLM these other names (JSON list) in place of those it had.
local function rename(llm, aliases)
  local old = call('HGET', P .. 'llm:' .. llm, 'aliases')
  if old then
    for _, alias in ipairs(cjson.decode(old)) do
      call('SREM', P .. 'alias:' .. alias, llm)
      orders().leave('a:' .. alias, llm)
    end
  end
  for _, alias in ipairs(cjson.decode(aliases)) do
    call('SADD', P .. 'alias:' .. alias, llm)
    orders().enter('a:' .. alias, llm, '0', '1')
  end
end

-- Whether there is that secret; none is asked for by '' or nil.
local function has_secret(name)
  return not name or name == '' or call('EXISTS', P .. 'secret:' .. name) == 1
end

-- Lets an LLM's key be that secret ('' = none) in place of the one before.
local function refer(llm, secret)
  local old = call('HGET', P .. 'llm:' .. llm, 'apiKeyRef')
  if old and old ~= '' then call('SREM', P .. 'secret-llms:' .. old, llm) end
  if secret ~= '' then call('SADD', P .. 'secret-llms:' .. secret, llm) end
end

-- Lets an LLM be found by that model ('' = by none) in place of the one before.
local function serve(llm, model)
  local old = call('HGET', P .. 'llm:' .. llm, 'model')
  if old == model and call('SISMEMBER', P .. 'model-llms:' .. model, llm) == 1 then return end
  if old then
    call('SREM', P .. 'model-llms:' .. old, llm)
    orders().leave('m:' .. old, llm)
  end
  if model ~= '' then
    call('SADD', P .. 'model-llms:' .. model, llm)
    orders().enter('m:' .. model, llm, '0', '1')
  end
end

-- Writes an LLM's fields, with the indexes that hang on some of them.
local function fill(llm, fields)
  if fields.aliases then rename(llm, fields.aliases) end
  if fields.apiKeyRef then refer(llm, fields.apiKeyRef) end
  if fields.model then serve(llm, fields.model) end
  for field, value in pairs(fields) do call('HSET', P .. 'llm:' .. llm, field, value) end
  settle(llm, {})
end

-- Deletes an LLM row and, first, the virtual agents pinned to it; returns how many rows went.
local function drop_llm(name)
  local row = call('HMGET', P .. 'llm:' .. name, 'id', 'session')
  if not row[1] then return 0 end
  local gone = 1
  for _, agent in ipairs(call('SMEMBERS', P .. 'llm-agents:' .. name)) do gone = gone + drop_agent(agent) end
  local refusal = 'this LLM was unpublished'
  wake_failed(name, 'publisher_offline', refusal)
  refuse_line(name, failure(503, 'publisher_offline', refusal))
  if row[2] then lose_tasks_of(name, row[2], refusal) end
  local keys = call('SMEMBERS', P .. 'pools-of:' .. name)
  rename(name, '[]')
  refer(name, '')
  serve(name, '')
  for _, key in ipairs(keys) do orders().leave(key, name) end
  call('DEL', P .. 'health:' .. name, P .. 'llm:' .. name, P .. 'leases:' .. name, P .. 'load:' .. name, P .. 'llm-agents:' .. name)
  call('SREM', P .. 'llms', name)
  call('HDEL', P .. 'llm-ids', row[1])
  call('ZREM', P .. 'expiring:llm', 'llm:' .. name)
  tend(keys, failure(503, 'publisher_offline', refusal), now_ms())
  emit('llm.deleted', name, '')
  if row[2] then leave_session(row[2], 'llm:' .. name) end
  return gone
end

local function drop_row(member)
  local family = string.match(member, '^(%a+):')
  local name = string.sub(member, #family + 2)
  if family == 'agent' then return drop_agent(name) end
  return drop_llm(name)
end

-- Puts a session's LLMs where they belong in their pools' orders: choices that found no heartbeat took them for away.
local function rank_rows(sid)
  for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
    if string.sub(member, 1, 4) == 'llm:' then rerank(string.sub(member, 5)) end
  end
end

-- A heartbeat covers every row of the session and brings the inactive ones back to what they were.
-- A row that is past its time is gone for good, as readers have seen already.
local function beat(sid, now, stale_ms, expire_ms)
  local last = tonumber(call('HGET', P .. 'session:' .. sid, 'heartbeatAt') or now)
  if last + stale_ms + expire_ms <= now and call('EXISTS', P .. 'alive:' .. sid) == 0 then
    -- No sweep came by since they ran out.
    rest_rows(sid, last + stale_ms, expire_ms)
  end
  local was_alive = call('SET', P .. 'alive:' .. sid, int(now), 'PX', int(stale_ms), 'GET')
  call('HSET', P .. 'session:' .. sid, 'heartbeatAt', int(now))
  call('ZADD', P .. 'heartbeats', int(now), sid)
  call('SADD', P .. 'sessions', sid)
  local s = call('HMGET', P .. 'session:' .. sid, 'down', 'leaving')
  if s[1] ~= '1' and not was_alive then rank_rows(sid) end
  if s[1] ~= '1' or s[2] == '1' then return true end
  for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
    local row = call('HMGET', P .. member, 'status', 'before', 'inactiveSince')
    if row[1] == 'inactive' then
      local family = string.match(member, '^(%a+):')
      local name = string.sub(member, #family + 2)
      local due = tonumber(row[3] or now) + expire_ms <= now
      if due and not kept(member) then
        drop_row(member)
      else
        call('HSET', P .. member, 'status', row[2] or 'active', 'updatedAt', int(now))
        call('HDEL', P .. member, 'inactiveSince', 'before')
        call('ZREM', P .. 'expiring:' .. family, member)
        if family == 'llm' then rerank(name) end
        emit(family .. '.' .. (row[2] or 'active'), name, 'back')
      end
    end
  end
  if call('EXISTS', P .. 'session:' .. sid) == 0 then return false end
  call('HSET', P .. 'session:' .. sid, 'down', '0')
  return true
end

-- What readers see of the virtual row `member`: without a heartbeat it is inactive, whether or not a sweep
-- came by, and after its time it is not there at all. Returns status, since (ms), gone.
local function seen(member, status, since, sid, now, stale_ms, expire_ms)
  since = tonumber(since)
  if status ~= 'inactive' and call('EXISTS', P .. 'alive:' .. (sid or '')) == 0 then
    status = 'inactive'
    since = tonumber(call('HGET', P .. 'session:' .. (sid or ''), 'heartbeatAt') or now) + stale_ms
  end
  local due = status == 'inactive' and since ~= nil and since + expire_ms <= now
  return status, since, due and not kept(member)
end

-- Whether readers find an LLM of that name.
local function stands(llm, now, stale_ms, expire_ms)
  if is_tool_server(llm) then return false end
  local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'status', 'inactiveSince', 'session')
  if row[1] ~= 'virtual' then return row[1] == 'public' end
  local _, _, gone = seen('llm:' .. llm, row[2], row[3], row[4], now, stale_ms, expire_ms)
  return not gone
end

-- The name of the LLM that readers find under that id, else under that name; nil for none.
local function llm_called(key, now, stale_ms, expire_ms)
  local name = call('HGET', P .. 'llm-ids', key) or key
  return stands(name, now, stale_ms, expire_ms) and name or nil
end

-- The name of the agent that readers find under that id, else under that name; nil for none.
local function agent_called(key, now, stale_ms, expire_ms)
  local agent = call('HGET', P .. 'agent-ids', key) or key
  local row = call('HMGET', P .. 'agent:' .. agent, 'kind', 'status', 'inactiveSince', 'session')
  if row[1] ~= 'virtual' then return row[1] and agent or nil end
  local _, _, gone = seen('agent:' .. agent, row[2], row[3], row[4], now, stale_ms, expire_ms)
  return not gone and agent or nil
end

-- Pins an agent to an LLM ('' = to none) in place of the one before.
local function pin(agent, llm)
  local key = P .. 'agent:' .. agent
  local old = call('HGET', key, 'llm')
  if old then call('SREM', P .. 'llm-agents:' .. old, agent) end
  if llm == '' then return call('HDEL', key, 'llm') end
  call('SADD', P .. 'llm-agents:' .. llm, agent)
  call('HSET', key, 'llm', llm)
end

-- Writes a public agent's fields; `llm`, `project` and `personality` are names of what is there, or ''.
local function dress(agent, fields)
  for field, value in pairs(fields) do
    if field == 'llm' then
      pin(agent, value)
    elseif field == 'project' or field == 'personality' then
      attach(agent, field, value)
    else
      call('HSET', P .. 'agent:' .. agent, field, value)
    end
  end
end
