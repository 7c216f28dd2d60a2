-- Personas: which LLM answers for an agent, with which prompts, parameters and tools. Users' JSON is handed on as it
-- is stored, as texts: cjson would write its numbers and empty lists anew.

-- The names of those who may answer for a model: the members of the pool of that name, else the LLMs that have it.
local function answering_for(model)
  if call('EXISTS', P .. 'pool:' .. model) == 0 then return call('SMEMBERS', P .. 'model-llms:' .. model) end
  local names = {}
  for i, member in ipairs(members_of(model)) do names[i] = member[1] end
  return names
end

-- Of the live LLMs that may answer for a model the one that is most awake; among equals the first by name.
local function awake_with(model, now, stale_ms, expire_ms)
  local best, best_rank
  local names = answering_for(model)
  table.sort(names)
  for _, name in ipairs(names) do
    local row = call('HMGET', P .. 'llm:' .. name, 'kind', 'status', 'inactiveSince', 'session')
    local rank = row[1] == 'public' and 0 or nil
    if row[1] == 'virtual' then
      local status, _, gone = seen('llm:' .. name, row[2], row[3], row[4], now, stale_ms, expire_ms)
      local session = session_of(row[4])
      if not gone and status ~= 'inactive' and session and session.reachable and not session.leaving then
        rank = (status == 'active' and 0 or 2) + (session.open and 0 or 1)
      end
    end
    -- A leading `_` is a publisher's tool server, which answers nobody.
    if rank and string.sub(name, 1, 1) ~= '_' and (not best or rank < best_rank) then best, best_rank = name, rank end
  end
  return best
end

-- Whether an LLM sleeps, and nobody has it woken.
local function sleeps_on(llm, now, stale_ms, expire_ms)
  local row = call('HMGET', P .. 'llm:' .. llm, 'status', 'inactiveSince', 'session')
  if row[1] ~= 'hibernating' then return false end
  local status = seen('llm:' .. llm, row[1], row[2], row[3], now, stale_ms, expire_ms)
  return status == 'hibernating' and call('EXISTS', P .. 'wake:' .. llm) == 0
end

-- The contents of an agent's prompts: its own, its personality's (JSON list of ids) in their order but for those of
-- another agent or project, its project's by name. None empty, none twice.
local function prompts_of(agent, own, ids, project)
  local contents, had = {}, {}
  local function add(id, scoped)
    local p = call('HMGET', P .. 'prompt:' .. id, 'content', 'scope', 'of')
    local of = { global = p[3], agent = agent, project = project }
    if had[id] or not p[1] or p[1] == '' or (scoped and of[p[2]] ~= p[3]) then return end
    had[id] = true
    contents[#contents + 1] = p[1]
  end
  if own and own ~= '' then contents[1] = own end
  for _, id in ipairs(cjson.decode(ids)) do add(id, true) end
  if project == '' then return contents end
  local named = call('HGETALL', P .. 'prompt-names:project:' .. project)
  local names, id_of = {}, {}
  for i = 1, #named, 2 do
    names[#names + 1] = named[i]
    id_of[named[i]] = named[i + 1]
  end
  table.sort(names)
  for _, name in ipairs(names) do add(id_of[name]) end
  return contents
end

-- What it takes to answer for an agent. `personality`: nil is the agent's own, '' none, else an id or a name.
-- Returns 'unknown' · 'offline' · 'no_llm', llm · 'no_model', model · 'no_personality', the one asked for
--         · 'agent', {llm, params, the personality's params, servers, extras (all four JSON), project, the model that it
--         names ('': it is pinned), prompt …}
local function persona_of(agent, personality, now, stale_ms, expire_ms)
  local a = call('HMGET', P .. 'agent:' .. agent, 'kind', 'status', 'inactiveSince', 'session', 'llm', 'model',
    'systemPrompt', 'defaultParams', 'extras', 'project', 'personality')
  if not a[1] then return 'unknown' end
  if a[1] == 'virtual' then
    local status, _, gone = seen('agent:' .. agent, a[2], a[3], a[4], now, stale_ms, expire_ms)
    if gone then return 'unknown' end
    if status == 'inactive' then return 'offline' end
  end
  local llm = a[5]
  if llm and llm ~= '' then
    if not stands(llm, now, stale_ms, expire_ms) then return 'no_llm', llm end
  else
    llm = awake_with(a[6] or '', now, stale_ms, expire_ms)
    if not llm then return 'no_model', a[6] or '' end
  end
  local named = personality and (call('HGET', P .. 'personality-ids', personality) or personality) or a[11] or ''
  local ids, params
  if named ~= '' then
    local p = call('HMGET', P .. 'personality:' .. named, 'name', 'prompts', 'params')
    if personality and not p[1] then return 'no_personality', personality end
    ids, params = p[2], p[3]
  end
  local project = a[10] or ''
  local servers = project ~= '' and call('HGET', P .. 'project:' .. project, 'servers')
  local persona = { llm, a[8] or '{}', params or '{}', servers or '[]', a[9] or '{}', project,
    (llm ~= a[5]) and a[6] or '' }
  for _, content in ipairs(prompts_of(agent, a[7], ids or '[]', project)) do persona[#persona + 1] = content end
  return 'agent', persona
end
