-- Projects, personalities and prompts: who names which, who may change them, and what goes when one goes.

-- The name of the project or personality with that id, else of that name; nil for none.
local function entry_called(family, key)
  local name = call('HGET', P .. family .. '-ids', key) or key
  return call('EXISTS', P .. family .. ':' .. name) == 1 and name or nil
end

-- Writes names in the place of ids where an agent's fields say project and personality ('' = none).
-- Returns the verdict that refuses the one that is not there, nil for none.
local function settle_names(fields)
  for _, family in ipairs({ 'project', 'personality' }) do
    if fields[family] and fields[family] ~= '' then
      fields[family] = entry_called(family, fields[family])
      if not fields[family] then return 'no_' .. family end
    end
  end
end

-- Lets an agent name that project or personality ('' = none) in place of the one before.
local function attach(agent, family, name)
  local key = P .. 'agent:' .. agent
  local old = call('HGET', key, family)
  if old and old ~= '' then call('SREM', P .. family .. '-agents:' .. old, agent) end
  if name ~= '' then call('SADD', P .. family .. '-agents:' .. name, agent) end
  call('HSET', key, family, name)
end

-- Makes a project's or personality's row, and its place in the indexes.
local function shelve(family, index, name, id, owner, now)
  call('HSET', P .. family .. ':' .. name, 'id', id, 'name', name, 'owner', owner, 'version', 1,
    'createdAt', int(now), 'updatedAt', int(now))
  call('SADD', P .. index, name)
  call('HSET', P .. family .. '-ids', id, name)
end

-- Deletes such a row, and clears it on every agent that names it.
local function unshelve(family, index, name, id)
  for _, agent in ipairs(call('SMEMBERS', P .. family .. '-agents:' .. name)) do
    call('HSET', P .. 'agent:' .. agent, family, '')
  end
  call('DEL', P .. family .. ':' .. name, P .. family .. '-agents:' .. name)
  call('SREM', P .. index, name)
  call('HDEL', P .. family .. '-ids', id)
end

-- Why a row must not be changed, as the verdict that says so; nil if it may be. It is changed by its owner, and a
-- prompt also by the owner of what it belongs to; `owner` '' is an admin, `version` '' whichever it is at.
local function locked(key, id, owner, version)
  local row = call('HMGET', key, 'id', 'owner', 'version', 'scope', 'of')
  local theirs = owner == '' or owner == row[2]
  if not theirs and row[4] and row[4] ~= 'global' then
    theirs = owner == call('HGET', P .. row[4] .. ':' .. row[5], 'owner')
  end
  if row[1] ~= id or not theirs then return { 'unknown' } end
  if version ~= '' and version ~= row[3] then return { 'version', row[3] } end
end

-- Writes a row's fields.
local function rewrite(key, fields)
  for field, value in pairs(fields) do call('HSET', key, field, value) end
end

-- Counts an edit.
local function count_edit(key, now)
  call('HINCRBY', key, 'version', 1)
  call('HSET', key, 'updatedAt', int(now))
end

-- The secrets that tool servers (JSON list) name.
local function secrets_of(servers)
  local secrets = {}
  for _, server in ipairs(cjson.decode(servers or '[]')) do
    if server.apiKeyRef then secrets[#secrets + 1] = server.apiKeyRef end
  end
  return secrets
end

-- Lets a project name the secrets of these tool servers in place of those of the ones before.
local function entrust(project, servers)
  for _, secret in ipairs(secrets_of(call('HGET', P .. 'project:' .. project, 'servers') or '[]')) do
    call('SREM', P .. 'secret-projects:' .. secret, project)
  end
  for _, secret in ipairs(secrets_of(servers)) do call('SADD', P .. 'secret-projects:' .. secret, project) end
end

-- The first secret that these tool servers name and that is not there; nil for none.
local function missing_secret(servers)
  for _, secret in ipairs(secrets_of(servers)) do
    if call('EXISTS', P .. 'secret:' .. secret) == 0 then return secret end
  end
end

-- Ids as rows keep them; cjson would write an empty list as an object.
local function id_list(ids)
  return #ids == 0 and '[]' or cjson.encode(ids)
end

-- The ids of the prompts that are meant, each once: {id, name, scope, of}, by the id or else by the name where it is
-- unique. Returns nil and the one that is not there.
local function prompts_called(asked)
  local ids, had = {}, {}
  for _, p in ipairs(asked) do
    local id = p.id
    if id == '' or call('EXISTS', P .. 'prompt:' .. id) == 0 then
      id = p.name ~= '' and call('HGET', P .. 'prompt-names:' .. p.scope .. ':' .. p.of, p.name)
    end
    if not id then return nil, p.name ~= '' and p.name or p.id end
    if not had[id] then ids[#ids + 1] = id end
    had[id] = true
  end
  return ids
end

-- Lets a personality have these prompts in place of those before.
local function compile(personality, ids)
  local key = P .. 'personality:' .. personality
  for _, id in ipairs(cjson.decode(call('HGET', key, 'prompts') or '[]')) do
    call('SREM', P .. 'prompt-personalities:' .. id, personality)
  end
  for _, id in ipairs(ids) do call('SADD', P .. 'prompt-personalities:' .. id, personality) end
  call('HSET', key, 'prompts', id_list(ids))
end

-- Deletes a prompt, also out of the personalities that have it.
local function drop_prompt(id)
  local row = call('HMGET', P .. 'prompt:' .. id, 'name', 'scope', 'of')
  if not row[1] then return end
  for _, personality in ipairs(call('SMEMBERS', P .. 'prompt-personalities:' .. id)) do
    local key, rest = P .. 'personality:' .. personality, {}
    for _, other in ipairs(cjson.decode(call('HGET', key, 'prompts') or '[]')) do
      if other ~= id then rest[#rest + 1] = other end
    end
    call('HSET', key, 'prompts', id_list(rest))
  end
  call('DEL', P .. 'prompt:' .. id, P .. 'prompt-personalities:' .. id)
  call('SREM', P .. 'prompts', id)
  call('HDEL', P .. 'prompt-names:' .. row[2] .. ':' .. row[3], row[1])
  emit('prompt.deleted', row[1], id)
end

-- Deletes the prompts of a project or an agent.
local function drop_prompts_of(scope, of)
  for _, id in ipairs(call('HVALS', P .. 'prompt-names:' .. scope .. ':' .. of)) do drop_prompt(id) end
end
