#!lua flags=allow-oom
-- A replica says which turns it runs, and hears which of them are to stop. Those that Redis thinks it runs, though it
-- does not (their end could not be written, or Redis is an older copy), are ended: their threads must go on.
-- ARGV: replica, settle_ms (younger ones may be about to be told of), (thread, token) …
-- Returns: {token, 'cancelled' | 'lost' (ended by others) | 'gone' (with its thread) …}
local replica, settle_ms = ARGV[1], tonumber(ARGV[2])
local now = now_ms()
local held, news = {}, {}
for i = 3, #ARGV, 2 do
  held[ARGV[i]] = true
  local t = call('HMGET', P .. 'thread:' .. ARGV[i], 'running', 'cancel')
  local word = not t[1] and 'gone' or t[1] ~= ARGV[i + 1] and 'lost' or t[2] and 'cancelled'
  if word then
    news[#news + 1] = ARGV[i + 1]
    news[#news + 1] = word
  end
end
for _, id in ipairs(call('SMEMBERS', P .. 'turns:' .. replica)) do
  if not held[id] then
    local t = call('HMGET', P .. 'thread:' .. id, 'running', 'replica', 'lastTurnAt')
    if not t[1] or t[1] == '' or t[2] ~= replica then
      call('SREM', P .. 'turns:' .. replica, id)
    elseif tonumber(t[3]) + settle_ms <= now then
      break_turn(id, now, 503, 'replica_lost', 'the broker lost this turn; ask again')
    end
  end
end
return news
