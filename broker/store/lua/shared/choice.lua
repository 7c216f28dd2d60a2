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

-- The members that a choice looks at, as they really are, but for those that are `left_out`; and how many those are. When
-- all that came first turn out to be away, those after them are looked at too.
local function candidates_of(key, left_out, now, stale_ms, expire_ms)
  local found, passed
  for _ = 1, 10 do
    found, passed = {}, 0
    local there = false
    local first = call('ZRANGE', P .. 'order:' .. key, 0, CANDIDATES - 1, 'WITHSCORES')
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

-- Gives each candidate its score: how full it would be, times how slow it is beside the others. Lower is better.
local function weigh(candidates)
  local sum, known = 0, 0
  for _, m in ipairs(candidates) do
    if m.avg_ms > 0 then sum, known = sum + m.avg_ms, known + 1 end
  end
  for _, m in ipairs(candidates) do
    local speed = 1
    if m.avg_ms > 0 then speed = math.max(0.5, math.min(4, m.avg_ms / (sum / known))) end
    m.score = orders().fullness(m, m.weight, 1) * speed
  end
end

-- Whether one candidate comes before another.
local function comes_first(one, other)
  if (one.band >= BROKEN or other.band >= BROKEN) and one.band ~= other.band then return one.band < other.band end
  if one.tier ~= other.tier then return one.tier < other.tier end
  if one.band ~= other.band then return one.band < other.band end
  if one.score ~= other.score then return one.score < other.score end
  return one.llm < other.llm
end

-- A broken member whose time for a probe has come, if it could take the request; it is then nobody else's probe for
-- `probe_ms`.
local function due_probe(key, left_out, now, probe_ms, stale_ms, expire_ms)
  for _, llm in ipairs(call('ZRANGEBYSCORE', P .. 'broken:' .. key, '-inf', int(now), 'LIMIT', 0, 3)) do
    local m = not is_among(left_out, llm) and member_of(key, llm, nil, now, stale_ms, expire_ms)
    if m and m.band == BROKEN and not (m.slots and m.leases >= m.slots) then
      call('HSET', P .. 'health:' .. llm, 'openUntil', int(now + probe_ms), 'probe', '1')
      rerank(llm)
      return m
    end
  end
end

-- The member that had this conversation, while it is as good a choice as affinity may make it: of the best one's kind,
-- with a free slot, and with no more than 1.25 times what such members have in the mean.
local function favourite(key, best, affinity, left_out, now, stale_ms, expire_ms)
  local llm = call('GET', P .. 'affinity:' .. key .. ':' .. affinity)
  if not llm or is_among(left_out, llm) then return nil end
  local m = member_of(key, llm, nil, now, stale_ms, expire_ms)
  if not m or m.band ~= best.band or m.tier ~= best.tier then return nil end
  local class = orders().class_of(m, m.tier)
  local load = call('HMGET', P .. 'order-load:' .. key, '\1' .. class, '\2' .. class)
  local mean = (tonumber(load[1] or '0') + 1) / math.max(1, tonumber(load[2] or '1'))
  return m.leases + 1 <= math.ceil(1.25 * mean) and m or nil
end
