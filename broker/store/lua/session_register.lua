#!lua
-- Registers a session's rows, all or nothing: every entry is judged before the first is written.
-- ARGV: sid, owner, entries (JSON {llms: [{name, id, initial, hold, fields}], agents: [{name, id, llm ('' = none:
--       its fields name a model), fields}]}, fields ready to store; tool servers are LLMs by name), replace (0|1), accepts (0|1), adoption (owner|any),
--       accept_ms, stale_ms, expire_ms, wake_limit_ms
-- Returns: {'ok'} · {'foreign'} · {'refused', family, name, why}; why: public | held | owner |
--          missing_llm (then also the LLM's name)
local sid, owner, adoption = ARGV[1], ARGV[2], ARGV[6]
local entries = cjson.decode(ARGV[3])
local accept_ms, stale_ms, expire_ms = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local now = now_ms()
local holder = call('HGET', P .. 'session:' .. sid, 'owner')
if holder and holder ~= owner then return { 'foreign' } end

-- What is to become of an entry: insert | replace | update | adopt, or nil and why not.
local function fate_of(family, name)
  local r = call('HMGET', P .. family .. ':' .. name, 'kind', 'session', 'status', 'inactiveSince', 'owner')
  if not r[1] then return 'insert' end
  if r[1] == 'public' then return nil, 'public' end
  local status, _, gone = seen(family .. ':' .. name, r[3], r[4], r[2], now, stale_ms, expire_ms)
  if gone then return 'replace' end
  if r[2] == sid then return 'update' end
  if status ~= 'inactive' then return nil, 'held' end
  -- `local` is everybody of an open broker (http/auth.py): with the first token its rows are up for adoption.
  if adoption ~= 'any' and r[5] ~= owner and r[5] ~= 'local' then return nil, 'owner' end
  return 'adopt'
end

local named, verdicts = {}, { llm = {}, agent = {} }
for _, e in ipairs(entries.llms) do
  local verdict, why = fate_of('llm', e.name)
  if not verdict then return { 'refused', 'llm', e.name, why } end
  verdicts.llm[e.name] = verdict
  named['llm:' .. e.name] = true
end
for _, e in ipairs(entries.agents) do
  local verdict, why = fate_of('agent', e.name)
  if not verdict then return { 'refused', 'agent', e.name, why } end
  local here = named['llm:' .. e.llm] and not is_tool_server(e.llm)
  if e.llm ~= '' and not here and not stands(e.llm, now, stale_ms, expire_ms) then
    return { 'refused', 'agent', e.name, 'missing_llm', e.llm }
  end
  verdicts.agent[e.name] = verdict
  named['agent:' .. e.name] = true
end

call('HSETNX', P .. 'session:' .. sid, 'createdAt', int(now))
call('HSET', P .. 'session:' .. sid, 'owner', owner, 'accepts', ARGV[5], 'leaving', '0')
-- Holds the session while rows come and go: it must not end with a row that is about to be replaced.
local HOLD = '_'
named[HOLD] = true
call('SADD', P .. 'session-rows:' .. sid, HOLD)
beat(sid, now, stale_ms, expire_ms)

local function write(family, e, verdict)
  local member = family .. ':' .. e.name
  local key = P .. member
  if verdict == 'replace' then drop_row(member) end
  -- Also a row that went in this very call: an agent goes with the LLM that it was pinned to.
  if call('EXISTS', key) == 0 then verdict = 'insert' end
  if verdict == 'insert' then
    call('HSET', key, 'id', e.id, 'name', e.name, 'kind', 'virtual', 'version', 1, 'createdAt', int(now))
    call('SADD', P .. family .. 's', e.name)
    call('HSET', P .. family .. '-ids', e.id, e.name)
  end
  if verdict == 'adopt' then
    local before = call('HGET', key, 'session')
    if family == 'llm' then
      local refusal = 'another publisher took this LLM over'
      lose_tasks_of(e.name, before, refusal)
      wake_failed(e.name, 'publisher_offline', refusal)
      refuse_line(e.name, failure(503, 'publisher_offline', refusal))
    end
    leave_session(before, member)
  end
  call('SADD', P .. 'session-rows:' .. sid, member)
  call('HSET', key, 'session', sid, 'status', e.initial, 'updatedAt', int(now))
  -- The owner stays with an adopted agent; an LLM row follows its publisher.
  if family == 'llm' or verdict ~= 'adopt' then call('HSET', key, 'owner', owner) end
  call('HDEL', key, 'inactiveSince', 'before', 'hold')
  if e.hold then call('HSET', key, 'hold', '1') end
  if e.fields.aliases then rename(e.name, e.fields.aliases) end
  if e.fields.project then attach(e.name, 'project', e.fields.project) end
  if family == 'llm' and (e.fields.model or verdict == 'insert') then serve(e.name, e.fields.model or e.defaults.model) end
  call('ZREM', P .. 'expiring:' .. family, member)
  for field, value in pairs(e.fields) do call('HSET', key, field, value) end
  for field, value in pairs(e.defaults) do call('HSETNX', key, field, value) end
  emit(family .. '.' .. e.initial, e.name, verdict)
end

for _, e in ipairs(entries.llms) do
  write('llm', e, verdicts.llm[e.name])
  if e.initial == 'active' then
    if call('EXISTS', P .. 'wake:' .. e.name) == 1 then wake_succeeded(e.name, now, accept_ms) end
  end
end
for _, e in ipairs(entries.agents) do
  write('agent', e, verdicts.agent[e.name])
  pin(e.name, e.llm)
end
-- A row that public agents are pinned to stays, inactive, and is in no session until it is published again.
local function unpublish(member)
  if not kept(member) then return drop_row(member) end
  local name, why = string.sub(member, 5), 'this LLM was unpublished'
  rest_row(member, now, int(now), expire_ms)
  refuse_line(name, failure(503, 'publisher_offline', why))
  lose_tasks_of(name, sid, why)
  call('SREM', P .. 'session-rows:' .. sid, member)
end

if ARGV[4] == '1' then
  for _, member in ipairs(call('SMEMBERS', P .. 'session-rows:' .. sid)) do
    if not named[member] then unpublish(member) end
  end
end
call('SREM', P .. 'session-rows:' .. sid, HOLD)
if call('EXISTS', P .. 'session-rows:' .. sid) == 0 then
  drop_session(sid)
  return { 'ok' }
end
local read = {}
for _, e in ipairs(entries.llms) do settle(e.name, read) end
for _, e in ipairs(entries.llms) do attend(e.name, sid, now, accept_ms, tonumber(ARGV[10])) end
return { 'ok' }
