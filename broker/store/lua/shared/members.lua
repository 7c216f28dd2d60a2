-- Who a pool's members are: LLMs of one model or alias, or those that a pool's row names or selects. A pool that nobody
-- asks for an hour is forgotten, and built again when somebody does.

-- Whether an LLM row is a publisher's tool server: nobody asks it as an LLM. LLMs' own names never begin so.
local function is_tool_server(llm)
  return string.sub(llm, 1, 1) == '_'
end

-- What stands between the `*` of a glob, as patterns of Lua's. To those a character is a byte; one of UTF-8 (`?`) is a byte and
-- those that go on with it.
local function pieces_of(glob)
  local pieces = {}
  for piece in string.gmatch(glob .. '*', '([^*]*)%*') do
    local escaped = string.gsub(piece, '[%^%$%(%)%%%.%[%]%+%-]', '%%%0')
    pieces[#pieces + 1] = string.gsub(escaped, '%?', '[^\128-\191][\128-\191]*')
  end
  pieces[1] = '^' .. pieces[1]
  pieces[#pieces] = pieces[#pieces] .. '$'
  return pieces
end

-- Whether a name fits a glob of such pieces: each as early as it can be, for trying all ways could take seconds.
local function fits(name, pieces)
  local at = 1
  for _, piece in ipairs(pieces) do
    local _, last = string.find(name, piece, at)
    if not last then return false end
    at = last + 1
  end
  return true
end

-- The entries of a pool's row: those that name an LLM, by it, and those that select, in order.
local function entries_of(name)
  local named, selecting = {}, {}
  for i, entry in ipairs(cjson.decode(call('HGET', P .. 'pool:' .. name, 'members') or '[]')) do
    entry.at = i
    if not entry.llm then
      entry.pieces = entry.selector.name and pieces_of(entry.selector.name)
      selecting[#selecting + 1] = entry
    elseif not named[entry.llm] then
      named[entry.llm] = entry
    end
  end
  return named, selecting
end

-- The first entry that fits an LLM; nil for none.
local function entry_for(llm, named, selecting)
  if is_tool_server(llm) then return nil end
  local row
  for _, entry in ipairs(selecting) do
    if named[llm] and named[llm].at < entry.at then break end
    row = row or call('HMGET', P .. 'llm:' .. llm, 'kind', 'tier', 'model')
    local want = entry.selector
    if (not want.model or want.model == (row[3] or llm)) and (not want.tier or want.tier == (row[2] or 'fast'))
      and (not want.kind or want.kind == row[1]) and (not entry.pieces or fits(llm, entry.pieces)) then
      return entry
    end
  end
  return named[llm]
end

-- What an entry says of its members.
local function terms_of(entry)
  return int(entry.tier or 0), tostring(entry.weight or 1)
end

-- Lets an LLM that came or changed be in the pools of rows that it fits, of those that are in use. `read`: a table that
-- keeps what was read of them for the next one.
local function settle(llm, read)
  for _, name in ipairs(call('SMEMBERS', P .. 'pools')) do
    local key = 'p:' .. name
    if orders().in_use(key) then
      read[name] = read[name] or { entries_of(name) }
      local entry = entry_for(llm, read[name][1], read[name][2])
      if entry then orders().enter(key, llm, terms_of(entry)) else orders().leave(key, llm) end
    end
  end
  rerank(llm)
end

-- Forgets what is known of a pool in use.
local function forget_pool(key)
  for _, llm in ipairs(call('HKEYS', P .. 'pool-members:' .. key)) do call('SREM', P .. 'pools-of:' .. llm, key) end
  call('DEL', P .. 'order:' .. key, P .. 'order-load:' .. key, P .. 'pool-members:' .. key, P .. 'broken:' .. key)
end

-- Puts many into an order that has nobody yet, each {llm, tier, weight}: with few calls, for there may be a thousand.
local function fill_order(key, members)
  local now, terms, scores, shares = now_ms(), {}, {}, {}
  local sums = { ['\3'] = 0 }
  local function add(sum, n)
    sums[sum] = (sums[sum] or 0) + n
  end
  for i, one in ipairs(members) do
    local m, tier, weight = orders().standing(one[1], now), tonumber(one[2]), tonumber(one[3])
    call('SADD', P .. 'pools-of:' .. m.llm, key)
    if m.open then call('ZADD', P .. 'broken:' .. key, int(m.open), m.llm) end
    terms[2 * i - 1], terms[2 * i] = m.llm, one[2] .. ' ' .. one[3]
    scores[2 * i - 1], scores[2 * i] = orders().score_of(m, tier, weight), m.llm
    local share = orders().share_of(m, tier, weight)
    if share then
      shares[#shares + 1] = m.llm
      shares[#shares + 1] = share
      add('\1' .. orders().class_of(m, tier), m.leases)
      add('\2' .. orders().class_of(m, tier), orders().capacity_of(m, weight))
      add('\3', m.slots or 0)
    end
  end
  for sum, n in pairs(sums) do
    shares[#shares + 1] = sum
    shares[#shares + 1] = int(n)
  end
  local function put(command, to, values)
    for i = 1, #values, 4000 do call(command, to, unpack(values, i, math.min(i + 3999, #values))) end
  end
  put('HSET', P .. 'pool-members:' .. key, terms)
  put('ZADD', P .. 'order:' .. key, scores)
  put('HSET', P .. 'order-load:' .. key, shares)
  call('PEXPIRE', P .. 'broken:' .. key, 3600000)
end

-- The members that a pool's row has now, each {llm, tier, weight}.
local function members_of(name)
  local members = {}
  local function add(llm, entry)
    members[#members + 1] = { llm, terms_of(entry) }
  end
  local named, selecting = entries_of(name)
  if #selecting == 0 then
    for llm, entry in pairs(named) do
      if call('EXISTS', P .. 'llm:' .. llm) == 1 then add(llm, entry) end
    end
  else
    for _, llm in ipairs(call('SMEMBERS', P .. 'llms')) do
      local entry = entry_for(llm, named, selecting)
      if entry then add(llm, entry) end
    end
  end
  return members
end

-- Builds the order of a pool that is not in use yet.
local function build_pool(key)
  local kind, name = string.sub(key, 1, 1), string.sub(key, 3)
  if kind == 'p' then return fill_order(key, members_of(name)) end
  local members = {}
  for i, llm in ipairs(call('SMEMBERS', P .. (kind == 'a' and 'alias:' or 'model-llms:') .. name)) do members[i] = { llm, '0', '1' } end
  fill_order(key, members)
end

-- How long a pool is known that nobody asks.
local POOL_TTL_MS = 3600000

-- Keeps what is known of a pool for so long beyond the longest wait of who asks now.
local function use_pool(key, wait_ms)
  if not orders().in_use(key) then build_pool(key) end
  local ttl_ms = int(POOL_TTL_MS + wait_ms)
  for _, family in ipairs({ 'order:', 'order-load:', 'pool-members:' }) do call('PEXPIRE', P .. family .. key, ttl_ms) end
end
