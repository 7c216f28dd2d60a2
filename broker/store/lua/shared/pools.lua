-- Pools: LLMs that are asked by one name. Each pool that is in use has an order of its members, best first, which
-- whatever changes a member's standing keeps up; so that a choice reads a few of them, however many there are. A
-- pool's key is `m:<model>`, `a:<alias>` or `p:<name>`; its line has that key behind a control character, which no
-- LLM's name can hold. Who its members are: members.lua.

-- Where a member is in an order. Below these: tier × 1000 + band × 100 + how full it is; the bands are 0 warm, 1 public.
local ASLEEP = 2
local BROKEN = 500000
local FULL = 1000000
local AWAY = 10000000

-- How long after the probe of a member that was left out there may be another; and there is none while that one runs.
local PROBE_MS = 5000

-- Failures count for so long.
local FRESH_MS = 10000

-- Turns of conversations count less the older they are: a third after so long.
local TURNS_MS = 60000

local function line_of_pool(key)
  return '\1' .. key
end

-- What is done with orders. Made when it is first needed, for most requests are to no pool's member and each function costs.
local orders_made
local function orders()
  if orders_made then return orders_made end

  -- Whether somebody asked a pool lately, so that its order is kept up.
  local function in_use(key)
    return call('EXISTS', P .. 'order-load:' .. key) == 1
  end

  -- How an LLM stands towards one request more: its `band` (warm 0 · public 1 · asleep or waking 2 · broken · full ·
  -- away), `leases`, `slots` (nil: no bound), `open` (until when it is broken), `failures` (of late), `held` (it takes no more
  -- before it has slept), and of its row kind, status, since, sid.
  local function standing(llm, now)
    local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'status', 'session', 'slots', 'inactiveSince', 'hold')
    local m = { llm = llm, kind = row[1], status = row[2], sid = row[3], since = row[5], band = AWAY, leases = 0, failures = 0 }
    if not m.kind then return m end
    m.leases = call('ZCOUNT', P .. 'leases:' .. llm, int(now), '+inf')
    if m.kind == 'virtual' then
      m.slots = tonumber(row[4]) or 1
      local s = call('HMGET', P .. 'session:' .. (m.sid or ''), 'channel', 'closed', 'leaving')
      local reachable = ((s[1] and s[1] ~= '') or s[2] == 'broker') and s[3] ~= '1'
      if m.status == 'inactive' or not reachable then return m end
    end
    local health = call('HMGET', P .. 'health:' .. llm, 'openUntil', 'last', 'earlier', 'unwoken')
    m.open = tonumber(health[1] or '')
    for i = 2, 3 do
      if now - tonumber(health[i] or 0) <= FRESH_MS then m.failures = m.failures + 1 end
    end
    if m.status == 'hibernating' then
      -- Awake it is another: what failed before says nothing of that, but that its wake failed says something of the next.
      m.band, m.open, m.failures = ASLEEP, nil, health[4] and 1 or 0
    elseif m.open and not row[6] then
      m.band = BROKEN
    elseif row[6] or (m.slots and m.leases >= m.slots) then
      m.band, m.held = FULL, row[6] == '1'
    else
      m.band = m.kind == 'public' and 1 or 0
    end
    return m
  end

  -- A member's tier and weight in a pool; nil when it is none of its members.
  local function membership(key, llm)
    local text = call('HGET', P .. 'pool-members:' .. key, llm)
    if not text then return nil end
    local tier, weight = string.match(text, '^(%S+) (%S+)$')
    return tonumber(tier), tonumber(weight)
  end

  -- How full a member is with so many requests `more`: 1 is full, by its weight.
  local function fullness(m, weight, more)
    return (m.leases + more) / ((m.slots or 64) * weight)
  end

  -- What its part of the load is due to be, in tenths of a slot.
  local function capacity_of(m, weight)
    return math.max(1, math.floor(10 * (m.slots or 64) * weight + 0.5))
  end

  -- A member's place in an order. By weight it may be fuller than full.
  local function score_of(m, tier, weight)
    if m.band >= BROKEN then return m.band end
    local full = fullness(m, weight, 0)
    return tier * 1000 + m.band * 100 + 90 * full / (1 + full)
  end

  -- Keeps the sums over a pool's warm members: leases (\1) and capacity (\2) of a class, which is a tier and a kind, and the
  -- slots of all (\3). `share` is what a member adds to them, "<class> <leases> <slots> <capacity>"; nil for nothing.
  local function share_in(key, llm, share)
    local load = P .. 'order-load:' .. key
    local had = call('HGET', load, llm)
    if (had or nil) == share then return end
    local class, leases, slots, capacity = string.match(had or '', '^(%S+) (%d+) (%d+) (%d+)$')
    local new_class, new_leases, new_slots, new_capacity = string.match(share or '', '^(%S+) (%d+) (%d+) (%d+)$')
    if class ~= new_class or capacity ~= new_capacity then
      if class then
        call('HINCRBY', load, '\1' .. class, int(0 - leases))
        call('HINCRBY', load, '\2' .. class, int(0 - capacity))
      end
      if new_class then
        call('HINCRBY', load, '\1' .. new_class, new_leases)
        call('HINCRBY', load, '\2' .. new_class, new_capacity)
      end
    elseif leases ~= new_leases then
      call('HINCRBY', load, '\1' .. class, int(new_leases - leases))
    end
    if slots ~= new_slots then call('HINCRBY', load, '\3', int((new_slots or 0) - (slots or 0))) end
    if share then call('HSET', load, llm, share) else call('HDEL', load, llm) end
  end

  -- A member's class, for which means are taken.
  local function class_of(m, tier)
    return int(tier) .. (m.kind == 'public' and 'p' or 'v')
  end

  -- What a member adds to the sums of its pool; nil for nothing.
  local function share_of(m, tier, weight)
    if m.band >= ASLEEP and m.band ~= FULL then return nil end
    return table.concat({ class_of(m, tier), int(m.leases), int(m.slots or 0), int(capacity_of(m, weight)) }, ' ')
  end

  -- What is left of such a count of turns, "<count> <when>".
  local function faded(text, now)
    local count, at = string.match(text or '', '^(%S+) (%d+)$')
    return count and tonumber(count) * math.exp((tonumber(at) - now) / TURNS_MS) or 0
  end

  -- Counts a turn that a member was given: its own (\4) and its class's (\5).
  local function count_turn(key, llm, class, now)
    local load, own, all = P .. 'order-load:' .. key, '\4' .. llm, '\5' .. class
    local had = call('HMGET', load, own, all)
    local function one_more(text)
      return string.format('%.3f %.0f', faded(text, now) + 1, now)
    end
    call('HSET', load, own, one_more(had[1]), all, one_more(had[2]))
  end

  -- Puts a member where it belongs in one pool's order, with its share of the pool's load.
  local function rank_in(key, m)
    local tier, weight = membership(key, m.llm)
    if not tier then
      call('SREM', P .. 'pools-of:' .. m.llm, key)
      return
    end
    call('ZADD', P .. 'order:' .. key, score_of(m, tier, weight), m.llm)
    if m.open then
      call('ZADD', P .. 'broken:' .. key, int(m.open), m.llm)
      call('PEXPIRE', P .. 'broken:' .. key, 3600000)
    else
      call('ZREM', P .. 'broken:' .. key, m.llm)
    end
    share_in(key, m.llm, share_of(m, tier, weight))
  end

  -- Takes an LLM out of one pool in use.
  local function leave_pool(key, llm)
    call('SREM', P .. 'pools-of:' .. llm, key)
    if not in_use(key) then return end
    share_in(key, llm, nil)
    call('HDEL', P .. 'order-load:' .. key, '\4' .. llm)
    call('ZREM', P .. 'order:' .. key, llm)
    call('ZREM', P .. 'broken:' .. key, llm)
    call('HDEL', P .. 'pool-members:' .. key, llm)
  end

  -- Puts an LLM into one pool, if that is in use.
  local function enter_pool(key, llm, tier, weight)
    if not in_use(key) then return end
    call('HSET', P .. 'pool-members:' .. key, llm, tier .. ' ' .. weight)
    call('SADD', P .. 'pools-of:' .. llm, key)
    rank_in(key, standing(llm, now_ms()))
    -- The first to come to an empty pool brings these keys back.
    local left_ms = call('PTTL', P .. 'order-load:' .. key)
    if left_ms > 0 then
      call('PEXPIRE', P .. 'order:' .. key, left_ms)
      call('PEXPIRE', P .. 'pool-members:' .. key, left_ms)
    end
  end

  -- Adds to what may be told of a request to a pool, for a quarter of an hour.
  local function explain(request, said)
    call('RPUSH', P .. 'explain:' .. request, cjson.encode(said))
    call('PEXPIRE', P .. 'explain:' .. request, 900000)
  end

  orders_made = {
    in_use = in_use,
    standing = standing,
    fullness = fullness,
    capacity_of = capacity_of,
    faded = faded,
    count_turn = count_turn,
    score_of = score_of,
    class_of = class_of,
    share_of = share_of,
    membership = membership,
    rank_in = rank_in,
    leave = leave_pool,
    enter = enter_pool,
    explain = explain,
  }
  return orders_made
end

-- Puts an LLM where it belongs in the order of every pool in use that it is in. One that is in none costs one look.
local function rerank(llm)
  local keys = call('SMEMBERS', P .. 'pools-of:' .. llm)
  if #keys == 0 then return end
  local m = orders().standing(llm, now_ms())
  for _, key in ipairs(keys) do
    if orders().in_use(key) then orders().rank_in(key, m) else call('SREM', P .. 'pools-of:' .. llm, key) end
  end
end
