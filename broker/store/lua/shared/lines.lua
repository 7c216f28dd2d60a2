-- The line of an LLM: who waits for a slot, and who is next. Fair between owners by start-time fair queueing: each
-- request has a tag, one after its owner's last and never before the line's clock, which stands at the tag that
-- was served last. So an owner with many waits behind an owner with few, and an owner alone is served in
-- order of arrival. A class of priority is so many tags' head start; the clock passes them all, so nobody starves.

local HEAD_START = { interactive = 0, normal = 50, batch = 1000 }

-- Tags count in whole steps; below them the order of arrival decides between equals.
local STEP = 1048576

-- Lets a request wait at the end of what its owner and its class are due.
local function join_line(line, tid, owner, priority, size)
  local load, tags = P .. 'load:' .. line, P .. 'line-tags:' .. line
  local clock = tonumber(call('HGET', load, 'clock') or '0')
  local tag = math.max(clock, tonumber(call('HGET', tags, owner) or '0')) + 1
  call('HSET', tags, owner, tag)
  local arrival = call('INCR', P .. 'arrivals') % STEP
  call('ZADD', P .. 'waiting:' .. line, int((tag + HEAD_START[priority]) * STEP + arrival), tid)
  call('HINCRBY', load, 'waitingBytes', size)
end

-- Takes a request out of a line, with its share of the line's bytes; with the last one all that the line knew goes.
local function leave_line(line, tid)
  local size = tonumber(call('HGET', P .. 'task:' .. tid, 'size') or '0') or 0
  call('ZREM', P .. 'waiting:' .. line, tid)
  if call('EXISTS', P .. 'waiting:' .. line) == 1 then
    call('HINCRBY', P .. 'load:' .. line, 'waitingBytes', -size)
  else
    call('HDEL', P .. 'load:' .. line, 'waitingBytes', 'clock')
    call('DEL', P .. 'line-tags:' .. line)
  end
end

-- Who is next in a line; nil for nobody.
local function next_in(line)
  return call('ZRANGE', P .. 'waiting:' .. line, 0, 0)[1]
end

-- Takes the next request out of its line because its turn has come: the clock moves on to its tag.
local function serve_line(line, tid)
  local score = tonumber(call('ZSCORE', P .. 'waiting:' .. line, tid))
  local priority = call('HGET', P .. 'task:' .. tid, 'priority')
  local tag = math.floor(score / STEP) - (HEAD_START[priority] or 0)
  if tag > tonumber(call('HGET', P .. 'load:' .. line, 'clock') or '0') then
    call('HSET', P .. 'load:' .. line, 'clock', int(tag))
  end
  leave_line(line, tid)
end

-- Seconds until a request at that place (1 = next) has a slot, by how long answers took lately.
local function wait_s(line, place, slots)
  local ms = tonumber(call('HGET', P .. 'load:' .. line, 'avgMs') or '2000')
  return math.max(1, math.ceil(ms * place / slots / 1000))
end
