-- Threads: whose one is, which turn a message is of, how a turn is written and how it ends. Users' JSON (messages,
-- events, errors) comes and goes as text: cjson would write its numbers and empty lists anew.

-- The two lists in which a thread stands, newest activity last: its owner's, and its owner's with that agent.
-- The length tells where the owner's name ends.
local function shelves(owner, agent)
  local all = P .. 'threads-of:' .. #owner .. ':' .. owner
  return all, all .. ':' .. agent
end

-- A thread's name in those lists moves to the front.
local function touch(id, owner, agent, now)
  local all, with = shelves(owner, agent)
  call('ZADD', all, int(now), id)
  call('ZADD', with, int(now), id)
end

-- Which turn a message is of. Its first two fields are always written by us.
local function turn_of(message)
  return string.match(message, '^{"id":"[^"]*","turnIndex":(%d+),')
end

-- Writes what a running turn brought: ARGV[from] is the number of the first event, then how many messages there were
-- before, how many follow, the messages, then each event's name and data. What an earlier try wrote already is left
-- out. `hold_ms`: how long the events are kept if nobody says more.
local function write_turn(id, turn, known, hold_ms, from)
  local messages = P .. 'thread-messages:' .. id
  local number, count, bytes = tonumber(ARGV[from]), tonumber(ARGV[from + 2]), 0
  for i = call('LLEN', messages) - tonumber(ARGV[from + 1]) + 1, count do
    call('RPUSH', messages, ARGV[from + 2 + i])
    bytes = bytes + #ARGV[from + 2 + i]
  end
  local events = P .. 'thread-events:' .. id .. ':' .. turn
  known = tonumber(known)
  for i = from + 3 + count, #ARGV, 2 do
    if number > known then
      call('XADD', events, number .. '-0', 'e', ARGV[i], 'd', ARGV[i + 1])
      known = number
    end
    number = number + 1
  end
  call('HSET', P .. 'thread:' .. id, 'events', known)
  call('HINCRBY', P .. 'thread:' .. id, 'bytes', bytes)
  call('PEXPIRE', events, hold_ms)
end

-- Ends the turn that runs in a thread, with that error (its JSON; nil: it is complete).
local function end_turn(id, now, error)
  local key = P .. 'thread:' .. id
  local t = call('HMGET', key, 'running', 'runningIndex', 'replica', 'keepMs', 'owner', 'agent')
  if error then call('HSET', P .. 'thread-errors:' .. id, t[2], error) end
  call('HSET', key, 'running', '', 'ended', t[1], 'lastTurnAt', int(now), 'updatedAt', int(now))
  call('HDEL', key, 'runningIndex', 'replica', 'cancel')
  call('SREM', P .. 'turns:' .. t[3], id)
  call('PEXPIRE', P .. 'thread-events:' .. id .. ':' .. t[2], t[4])
  touch(id, t[5], t[6], now)
end

-- Ends the turn that runs in a thread in its replica's place, with words of ours.
local function break_turn(id, now, status, code, message)
  local t = call('HMGET', P .. 'thread:' .. id, 'runningIndex', 'events')
  local error = '{"message":"' .. message .. '","type":"server_error","code":"' .. code .. '","param":null,"status":' .. status .. '}'
  call('XADD', P .. 'thread-events:' .. id .. ':' .. t[1], (tonumber(t[2]) + 1) .. '-0', 'e', 'error', 'd', '{"error":' .. error .. '}')
  end_turn(id, now, error)
end
