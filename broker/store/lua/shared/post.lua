-- What every script may use: the clock, numbers as text, events, and how a script speaks to the
-- replica that holds a channel (`ring`; to the one whose client waits: `tell`, kept.lua). KEYS[1] is the namespace's
-- prefix, `rv:{ns}:`; a namespace is one slot, so every key that is built from it is on this node (keys.py lists
-- them all). Rule of the house: a script refuses first and writes last, for Lua does not roll back.

local P = KEYS[1]
local call = redis.call

-- Milliseconds of Redis' own clock, the only clock that decides anything.
local function now_ms()
  local t = call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- Whole milliseconds as text; Lua would write large numbers as 1.7e+12.
local function int(n)
  return string.format('%.0f', n)
end

-- One event per change of state, for whoever watches; trimmed, never read by a decision.
local function emit(kind, name, detail)
  call('XADD', P .. 'events', 'MAXLEN', '~', '10000', '*', 'kind', kind, 'name', name, 'detail', detail or '')
end

-- A part of a reply: one letter, the length, a colon, the bytes (broker/relay/parts.py reads them).
local function part(letter, bytes)
  return letter .. #bytes .. ':' .. bytes
end

local function failure(status, code, message)
  return part('E', cjson.encode({ status = status, code = code, message = message }))
end

-- Puts a frame into the doorbell of the replica that holds the channel, if one does.
local function ring(replica, channel, frame)
  if channel and channel ~= '' then
    call('XADD', P .. 'inbox:' .. replica, 'NOMKSTREAM', '*', 'c', channel, 'f', frame)
  end
end
