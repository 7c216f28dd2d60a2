-- How LLMs did: who of a pool's members fails is left out for a while (`openUntil`), and back when a probe went well; and how
-- long answers take. Who is asked is decided elsewhere (choice.lua, and `promote` for those who wait).

-- Who was taken back, and is to be left out again within so long, is left out for longer.
local RELAPSE_MS = 60000

-- Lets one of those who wait in its pools' lines probe a member as soon as that may be, for perhaps nobody else comes.
local function probe_later(llm, at)
  call('ZADD', P .. 'timers', int(at), 'probe:' .. llm)
end

-- A member failed a request. Three failures within ten seconds, or one of a probe, take it out of the choice for a while,
-- which doubles each time, also when it was back in between for less than a minute.
local function failed_once(llm, now)
  local key = P .. 'health:' .. llm
  local h = call('HMGET', key, 'openUntil', 'probe', 'last', 'earlier', 'coolMs', 'backAt')
  -- What was sent before it was taken out says nothing new.
  if h[1] and not h[2] then return end
  local third = h[4] and now - tonumber(h[4]) <= FRESH_MS
  call('HSET', key, 'last', int(now), 'earlier', h[3] or 0)
  if h[1] or third then
    local again = h[1] or h[6] and now - tonumber(h[6]) <= RELAPSE_MS
    local cool = again and math.min(60000, tonumber(h[5] or 500) * 2) or 1000
    call('HSET', key, 'openUntil', int(now + cool), 'coolMs', int(cool))
    emit('llm.broken', llm, '')
    for _, pool in ipairs(call('SMEMBERS', P .. 'pools-of:' .. llm)) do
      if call('EXISTS', P .. 'waiting:' .. line_of_pool(pool)) == 1 then probe_later(llm, now + cool) end
    end
  end
  call('HDEL', key, 'probe')
  call('PEXPIRE', key, 600000)
  rerank(llm)
end

-- A member that was taken out did well: it is back. Returns whether it was out.
local function came_back(llm, now)
  local key = P .. 'health:' .. llm
  if call('HDEL', key, 'openUntil') == 0 then return false end
  call('HDEL', key, 'probe', 'last', 'earlier')
  call('HSET', key, 'backAt', int(now))
  call('ZREM', P .. 'timers', 'probe:' .. llm)
  rerank(llm)
  return true
end

-- A member answered the task `tid`, asked at that time. If it is left out, it is back when that was its probe, or asked since
-- it was taken out.
local function answered_once(llm, tid, asked_at, now)
  local h = call('HMGET', P .. 'health:' .. llm, 'openUntil', 'coolMs', 'probe')
  if h[1] and (h[3] == tid or asked_at >= tonumber(h[1]) - tonumber(h[2] or 0)) then came_back(llm, now) end
end

-- Takes into the mean time of a line's answers, or of an LLM's, that one took so long.
local function learn_speed(line, took)
  local load = P .. 'load:' .. line
  local average = tonumber(call('HGET', load, 'avgMs') or took)
  call('HSET', load, 'avgMs', int(average * 0.8 + took * 0.2))
end
