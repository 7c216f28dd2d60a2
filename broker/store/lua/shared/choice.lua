-- The choice of a pool's member: a few of its order are looked at as they really are, and the best takes the request.

-- How many members of an order a choice looks at.
local CANDIDATES = 8

-- The keys of the pools that a client may mean, in the order of `kinds`: an alias comes before a pool, a pool before a model.
local function pools_asked(asked, kinds)
  local families, keys = { a = 'alias:', p = 'pool:', m = 'model-llms:' }, {}
  for kind in string.gmatch(kinds or 'apm', '.') do
    if call('EXISTS', P .. families[kind] .. asked) == 1 then keys[#keys + 1] = kind .. ':' .. asked end
  end
  return keys
end

-- Whether a name is in such a list of members: "\nname\n…", or ''.
local function is_among(names, llm)
  return string.find(names, '\n' .. llm .. '\n', 1, true) ~= nil
end

-- A member as it really is now: what readers see of its row, and its session; nil for one that is gone. Where its place in
-- the order (`ranked`) is another it is put right, so that the same mistake is not looked at again.
local function member_of(key, llm, ranked, now, stale_ms, expire_ms)
  local m = orders().standing(llm, now)
  m.tier, m.weight = orders().membership(key, llm)
  if not m.tier then return nil end
  local gone = not m.kind
  if m.kind == 'virtual' then
    local status, _, due = seen('llm:' .. llm, m.status, m.since, m.sid, now, stale_ms, expire_ms)
    gone = due
    if status == 'inactive' then m.band, m.open = AWAY, nil end
  end
  if gone then
    orders().leave(key, llm)
    return nil
  end
  if not ranked or math.abs(tonumber(ranked) - orders().score_of(m, m.tier, m.weight)) > 0.000001 then orders().rank_in(key, m) end
  m.avg_ms = tonumber(call('HGET', P .. 'load:' .. llm, 'avgMs') or '') or 0
  return m
end

-- The first of an order with their scores; of those `awake` when that is asked, in each tier and then those that are full.
local function first_of(key, awake)
  local order, first = P .. 'order:' .. key, {}
  if not awake then return call('ZRANGE', order, 0, CANDIDATES - 1, 'WITHSCORES') end
  local function add(least, below)
    if #first >= 2 * CANDIDATES then return end
    for _, one in ipairs(call('ZRANGEBYSCORE', order, least, '(' .. below, 'WITHSCORES', 'LIMIT', 0, CANDIDATES - #first / 2)) do
      first[#first + 1] = one
    end
  end
  for tier = 0, 9 do add(tier * 1000, tier * 1000 + ASLEEP * 100) end
  add(BROKEN, AWAY)
  return first
end

-- The members that a choice looks at, as they really are, but for those that are `left_out`, and for sleepers when only who
-- is `awake` is wanted; and how many were left out. When all that came first turn out to be away, those after them are looked
-- at too.
local function candidates_of(key, left_out, now, stale_ms, expire_ms, awake)
  local found, passed
  for _ = 1, 10 do
    found, passed = {}, 0
    local there = false
    local first = first_of(key, awake)
    for i = 1, #first, 2 do
      if is_among(left_out, first[i]) then
        passed = passed + 1
      else
        local m = member_of(key, first[i], first[i + 1], now, stale_ms, expire_ms)
        found[#found + 1] = m
        there = there or (m and m.band < AWAY)
      end
    end
    if there or #first < 2 * CANDIDATES then break end
  end
  return found, passed
end

-- Whether one candidate comes before another.
local function comes_first(one, other)
  if (one.band >= BROKEN or other.band >= BROKEN) and one.band ~= other.band then return one.band < other.band end
  if one.tier ~= other.tier then return one.tier < other.tier end
  if one.band ~= other.band then return one.band < other.band end
  if one.score ~= other.score then return one.score < other.score end
  return one.llm < other.llm
end

-- Tells of each candidate what one conversation more counts there, by the turns that it and its class had lately: 1 where it
-- had its part of them, at most 2. Conversations stay, so where one begins is to be right for longer than this moment.
local function compare_turns(key, candidates, now)
  if #candidates == 0 then return end
  local fields = {}
  for i, m in ipairs(candidates) do
    local class = orders().class_of(m, m.tier)
    fields[3 * i - 2], fields[3 * i - 1], fields[3 * i] = '\4' .. m.llm, '\5' .. class, '\2' .. class
  end
  local load = call('HMGET', P .. 'order-load:' .. key, unpack(fields))
  for i, m in ipairs(candidates) do
    local capacity = orders().capacity_of(m, m.weight)
    local part = capacity / math.max(capacity, tonumber(load[3 * i] or '0'))
    -- Two on either side, so that the first few turns decide nothing.
    m.more = math.min(2, (orders().faded(load[3 * i - 2], now) + 2) / (orders().faded(load[3 * i - 1], now) * part + 2))
  end
end

-- Gives each candidate its score: how full it would be, times how slow it is beside the others, times one more for each
-- failure of late. Puts the best first.
local function weigh(candidates)
  local sum, known = 0, 0
  for _, m in ipairs(candidates) do
    if m.avg_ms > 0 then sum, known = sum + m.avg_ms, known + 1 end
  end
  for _, m in ipairs(candidates) do
    local speed = 1
    if m.avg_ms > 0 then speed = math.max(0.5, math.min(4, m.avg_ms / (sum / known))) end
    m.score = orders().fullness(m, m.weight, m.more or 1) * speed * (1 + m.failures)
  end
  table.sort(candidates, comes_first)
end

-- A broken member whose time for a probe has come, if it could take the request; while that goes on as the task `tid`
-- (or, where it has none yet, for a while) there is no other. Where the `best` is free, only one that would come no later than
-- that: what is to overflow only when others are full is not to be asked before. `only_look`: it is not the probe yet.
local function due_probe(key, left_out, now, stale_ms, expire_ms, best, tid, only_look)
  local function in_its_turn(m)
    if not best or best.band >= ASLEEP then return true end
    return m.tier < best.tier or m.tier == best.tier and (best.band == 1 or m.kind == 'virtual')
  end

  for _, llm in ipairs(call('ZRANGEBYSCORE', P .. 'broken:' .. key, '-inf', int(now), 'LIMIT', 0, CANDIDATES)) do
    local m = not is_among(left_out, llm) and member_of(key, llm, nil, now, stale_ms, expire_ms)
    if m and m.band == BROKEN and not (m.slots and m.leases >= m.slots) and in_its_turn(m) then
      local probing = call('HGET', P .. 'health:' .. llm, 'probe')
      local nobody_probes = not probing or call('EXISTS', P .. 'task:' .. probing) == 0
      if not only_look then
        call('HSET', P .. 'health:' .. llm, 'openUntil', int(now + PROBE_MS))
        rerank(llm)
        if nobody_probes then call('HSET', P .. 'health:' .. llm, 'probe', tid or '?') end
      end
      if nobody_probes then return m end
    end
  end
end

-- The member that had this conversation, while it is as good a choice as affinity may make it: of the best one's kind, with
-- a free slot, and with no more than 1.25 times its part of what such members run, or of the turns that they had lately.
-- What runs alone goes up and down too much to let conversations stay.
local function favourite(key, best, affinity, left_out, now, stale_ms, expire_ms)
  local llm = call('GET', P .. 'affinity:' .. key .. ':' .. affinity)
  if not llm or is_among(left_out, llm) then return nil end
  local m = member_of(key, llm, nil, now, stale_ms, expire_ms)
  if not m or m.band ~= best.band or m.tier ~= best.tier then return nil end
  local class, capacity = orders().class_of(m, m.tier), orders().capacity_of(m, m.weight)
  local load = call('HMGET', P .. 'order-load:' .. key, '\1' .. class, '\2' .. class, '\4' .. llm, '\5' .. class)
  local most = 1.25 * capacity / math.max(capacity, tonumber(load[2] or '0'))
  if m.leases + 1 <= math.ceil(most * (tonumber(load[1] or '0') + 1)) then return m end
  local turns, all = orders().faded(load[3], now) + 1, orders().faded(load[4], now) + 1
  return turns <= most * all + 1 and m or nil
end
