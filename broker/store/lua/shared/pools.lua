-- Pools: LLMs that are asked by one name. Each pool that is in use has an order of its members, best first, which
-- whatever changes a member's standing keeps up; so that a choice reads a few of them, however many there are. A
-- pool's key is `m:<model>`, `a:<alias>` or `p:<name>`; its line has that key behind a control character, which no
-- LLM's name can hold. Who its members are: members.lua.

-- Where a member is in an order. Below these: tier × 1000 + band × 100 + how full it is; the bands are 0 warm, 1 public.
local ASLEEP = 2
local BROKEN = 500000
local FULL = 1000000
local AWAY = 10000000

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
  -- away), `leases`, `slots` (nil: no bound), `open` (until when it is broken), `held` (it takes no more before it has slept),
  -- and of its row kind, status, since, sid.
  local function standing(llm, now)
    local row = call('HMGET', P .. 'llm:' .. llm, 'kind', 'status', 'session', 'slots', 'inactiveSince', 'hold')
    local m = { llm = llm, kind = row[1], status = row[2], sid = row[3], since = row[5], band = AWAY, leases = 0 }
    if not m.kind then return m end
    m.leases = call('ZCOUNT', P .. 'leases:' .. llm, int(now), '+inf')
    if m.kind == 'virtual' then
      m.slots = tonumber(row[4]) or 1
      local s = call('HMGET', P .. 'session:' .. (m.sid or ''), 'channel', 'closed', 'leaving')
      local reachable = ((s[1] and s[1] ~= '') or s[2] == 'broker') and s[3] ~= '1'
      if m.status == 'inactive' or not reachable then return m end
    end
    m.open = tonumber(call('HGET', P .. 'health:' .. llm, 'openUntil') or '')
    if m.status == 'hibernating' then
      -- Awake it is another: what failed before says nothing of that.
      m.band, m.open = ASLEEP, nil
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

  -- How full a member is, one request more included when `more` is 1: 1 is full, by its weight.
  local function fullness(m, weight, more)
    return (m.leases + more) / ((m.slots or 64) * weight)
  end

  -- A member's place in an order.
  local function score_of(m, tier, weight)
    if m.band >= BROKEN then return m.band end
    return tier * 1000 + m.band * 100 + math.min(0.999, fullness(m, weight, 0)) * 90
  end

  -- Keeps the sums over a pool's warm members: leases (\1) and members (\2) of a class, which is a tier and a kind, and the
  -- slots of all (\3). `share` is what a member adds to them, "<class> <leases> <slots>"; nil for nothing.
  local function share_in(key, llm, share)
    local load = P .. 'order-load:' .. key
    local had = call('HGET', load, llm)
    if (had or nil) == share then return end
    local class, leases, slots = string.match(had or '', '^(%S+) (%d+) (%d+)$')
    local new_class, new_leases, new_slots = string.match(share or '', '^(%S+) (%d+) (%d+)$')
    if class ~= new_class then
      if class then
        call('HINCRBY', load, '\1' .. class, int(0 - leases))
        call('HINCRBY', load, '\2' .. class, -1)
      end
      if new_class then
        call('HINCRBY', load, '\1' .. new_class, new_leases)
        call('HINCRBY', load, '\2' .. new_class, 1)
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
  local function share_of(m, tier)
    if m.band < ASLEEP or m.band == FULL then return class_of(m, tier) .. ' ' .. int(m.leases) .. ' ' .. int(m.slots or 0) end
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
    share_in(key, m.llm, share_of(m, tier))
  end

  -- Takes an LLM out of one pool in use.
  local function leave_pool(key, llm)
    call('SREM', P .. 'pools-of:' .. llm, key)
    if not in_use(key) then return end
    share_in(key, llm, nil)
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

  -- Whether of a pool's members only broken ones are there.
  local function only_broken(key)
    local first = call('ZRANGE', P .. 'order:' .. key, 0, 0, 'WITHSCORES')[2]
    return first and tonumber(first) == BROKEN and call('ZCOUNT', P .. 'order:' .. key, FULL, FULL) == 0
  end

  -- Adds to what may be told of a request to a pool, for a quarter of an hour.
  local function explain(request, said)
    call('RPUSH', P .. 'explain:' .. request, cjson.encode(said))
    call('PEXPIRE', P .. 'explain:' .. request, 900000)
  end

  -- Whose turn it is in the lines that an LLM serves, but for those whom it failed already. Each line has a clock of its
  -- own, so what counts is how far its first is from that; and a line that is passed over moves on by one turn, so that none
  -- starves beside another. Returns the task and its line; nil for nobody.
  local function next_for(llm, lines)
    local best, best_score, best_line
    local firsts = {}
    for i, line in ipairs(lines) do
      local waiting = call('ZRANGE', P .. 'waiting:' .. line, 0, i == 1 and 0 or 15, 'WITHSCORES')
      for j = 1, #waiting, 2 do
        local left_out = i > 1 and call('HGET', P .. 'task:' .. waiting[j], 'not') or ''
        if not string.find(left_out, '\n' .. llm .. '\n', 1, true) then
          local clock = tonumber(call('HGET', P .. 'load:' .. line, 'clock') or '0')
          local score = tonumber(waiting[j + 1]) - clock * STEP
          if not best or score < best_score then best, best_score, best_line = waiting[j], score, line end
          firsts[#firsts + 1] = line
          break
        end
      end
    end
    for _, line in ipairs(firsts) do
      if line ~= best_line then call('HINCRBY', P .. 'load:' .. line, 'clock', 1) end
    end
    return best, best_line
  end

  -- Makes a request that waited in a pool's line its member's. Returns the whole frame, and what its asker is told.
  local function give_to(llm, tid, frame, tail, now)
    local key = P .. 'task:' .. tid
    local whole = frame .. cjson.encode(llm) .. tail
    local of = call('HMGET', key, 'request', 'affinity')
    call('HSET', key, 'frame', whole, 'llm', llm)
    call('HDEL', key, 'tail', 'not', 'affinity', 'wakeLimit', 'waking')
    if of[2] then call('SET', P .. 'affinity:' .. of[2], llm, 'PX', 900000) end
    explain(of[1], { at = now, served = llm, task = tid })
    return whole, part('Q', llm)
  end

  -- The lines that an LLM serves: its own, then those of its pools. One that is broken serves no pool's, while others can:
  -- failing fast must not bring it more than them.
  local function lines_of(llm, keys)
    local lines = { llm }
    local broken = call('HEXISTS', P .. 'health:' .. llm, 'openUntil') == 1
    for _, key in ipairs(keys) do
      if not broken or only_broken(key) then lines[#lines + 1] = '\1' .. key end
    end
    return lines
  end

  orders_made = {
    in_use = in_use,
    lines_of = lines_of,
    standing = standing,
    fullness = fullness,
    score_of = score_of,
    class_of = class_of,
    share_of = share_of,
    membership = membership,
    rank_in = rank_in,
    leave = leave_pool,
    enter = enter_pool,
    only_broken = only_broken,
    explain = explain,
    next_for = next_for,
    give_to = give_to,
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

-- How a member did with a request. Three failures within ten seconds, or one of a probe, take it out of the choice for a
-- while, which doubles each time.
local function failed_once(llm, now)
  local key = P .. 'health:' .. llm
  local h = call('HMGET', key, 'fails', 'since', 'openUntil', 'coolMs', 'probe')
  -- What was sent before it was taken out says nothing new.
  if h[3] and not h[5] then return end
  local fails, since = tonumber(h[1] or '0'), tonumber(h[2] or now)
  if now - since > 10000 and not h[3] then fails, since = 0, now end
  call('HSET', key, 'fails', fails + 1, 'since', int(since))
  if fails + 1 >= 3 or h[3] then
    local cool = h[4] and math.min(60000, tonumber(h[4]) * 2) or 1000
    call('HSET', key, 'openUntil', int(now + cool), 'coolMs', int(cool))
    emit('llm.broken', llm, '')
  end
  call('HDEL', key, 'probe')
  call('PEXPIRE', key, 600000)
  rerank(llm)
end
