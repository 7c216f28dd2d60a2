#!lua
-- Begins a turn: nobody else's runs in the thread, its agent can answer, and what the LLM will be sent is not too much.
-- The user's message is kept from now on. All that the answer takes is told with it, so that nothing else has to be
-- looked up before the first token; and it is one step, or two turns would begin at once, or one with an agent of before.
-- ARGV: thread, owner, token (the turn's fence), replica, said (the user's message as JSON from `"role"` on),
--       chosen (1: the personality is given), personality (its id or name, '' = none), limit_bytes,
--       keep_ms (how long its events stay after its end), stale_ms, expire_ms, most_bytes, most_messages (of all that the
--       thread keeps, also of turns that failed: every turn reads it), may_wake (0|1)
-- Returns: {'unknown'} · {'running', turn} · {'full', bytes, messages} · {'too_long', bytes} · {'refused', agent, …} (shared/personas.lua tells the rest)
--          · {'asleep', llm} (and the asker may not wake)
--          · {'ok', turn, now_ms, how many messages there are with this one, agent, {as shared/personas.lua tells},
--             {message (JSON) … of turns that went well}, the user's message (JSON)}
local id, owner, token, replica, said = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local personality = nil
if ARGV[6] == '1' then personality = ARGV[7] end
local limit, keep_ms = tonumber(ARGV[8]), ARGV[9]
local key, list = P .. 'thread:' .. id, P .. 'thread-messages:' .. id
local t = call('HMGET', key, 'owner', 'agent', 'running', 'runningIndex', 'turns', 'bytes')
if t[1] ~= owner then return { 'unknown' } end
if t[3] ~= '' then return { 'running', t[4] } end
local kept = tonumber(t[6] or '0')
local count = call('LLEN', list)
if kept > tonumber(ARGV[12]) or count > tonumber(ARGV[13]) then return { 'full', int(kept), count } end
local now = now_ms()
local agent = t[2]
local verdict, told = persona_of(agent, personality, now, tonumber(ARGV[10]), tonumber(ARGV[11]))
if verdict ~= 'agent' then return { 'refused', agent, verdict, told } end
if ARGV[14] ~= '1' and sleeps_on(told[1], now, tonumber(ARGV[10]), tonumber(ARGV[11])) then return { 'asleep', told[1] } end

local messages = call('LRANGE', list, 0, -1)
local failed = {}
for _, turn in ipairs(call('HKEYS', P .. 'thread-errors:' .. id)) do failed[turn] = true end
if next(failed) then
  local kept = {}
  for _, message in ipairs(messages) do
    if not failed[turn_of(message)] then kept[#kept + 1] = message end
  end
  messages = kept
end
local bytes = #said
for _, message in ipairs(messages) do bytes = bytes + #message end
for i = 8, #told do bytes = bytes + #told[i] end
if bytes > limit then return { 'too_long', int(bytes) } end

local turn = int(tonumber(t[5]) + 1)
local message = '{"id":"' .. id .. '.' .. int(count + 1) .. '","turnIndex":' .. turn
  .. ',"createdAt":' .. int(now) .. ',' .. said
count = call('RPUSH', list, message)
call('HINCRBY', key, 'bytes', #message)
call('HSET', key, 'running', token, 'runningIndex', turn, 'replica', replica, 'turns', turn, 'events', 0,
  'keepMs', keep_ms, 'lastTurnAt', int(now), 'updatedAt', int(now))
call('SADD', P .. 'turns:' .. replica, id)
-- One that was taken for dead may not know it yet: it must be found again if it dies before it does.
call('ZADD', P .. 'replicas', 'NX', int(now + 10000), replica)
touch(id, owner, agent, now)
return { 'ok', turn, int(now), count, agent, told, messages, message }
