#!lua flags=allow-oom
-- One slice of the sweep: sessions without a heartbeat turn inactive, then rows past their time go,
-- agents before LLMs. Idempotent, and two at once do no harm: what one took the other finds done.
-- ARGV: limit, stale_ms, expire_ms, settle_ms (how long after an outage nobody is judged by
--       heartbeats: they could not reach us)
-- Returns: {marked, deleted, more (0|1), name of an LLM that a public agent keeps …}
local limit, stale_ms, expire_ms, settle_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_ms()
local marked, deleted, more = 0, 0, 0

local pulse = call('HMGET', P .. 'pulse', 'last', 'since')
local settling = pulse[1] and now - tonumber(pulse[1]) < settle_ms and now - tonumber(pulse[2]) < settle_ms
if not settling then
  local stale = call('ZRANGEBYSCORE', P .. 'heartbeats', '-inf', int(now - stale_ms), 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #stale, 2 do
    local sid = stale[i]
    call('ZREM', P .. 'heartbeats', sid)
    if call('EXISTS', P .. 'session:' .. sid) == 1 then
      marked = marked + rest_rows(sid, tonumber(stale[i + 1]) + stale_ms, expire_ms)
      lose_work(sid)
    end
  end
  if #stale >= 2 * limit then more = 1 end
end

local agents = call('ZRANGEBYSCORE', P .. 'expiring:agent', '-inf', int(now), 'LIMIT', 0, limit)
for _, member in ipairs(agents) do deleted = deleted + drop_row(member) end
local answer = { 0, 0, 0 }
if #agents >= limit then
  more = 1
else
  local llms = call('ZRANGEBYSCORE', P .. 'expiring:llm', '-inf', int(now), 'LIMIT', 0, limit)
  for _, member in ipairs(llms) do
    if kept(member) then
      -- Kept, and looked at again at a later sweep rather than at each slice of this one.
      call('ZADD', P .. 'expiring:llm', int(now + settle_ms), member)
      answer[#answer + 1] = string.sub(member, 5)
    else
      deleted = deleted + drop_row(member)
    end
  end
  if #llms >= limit then more = 1 end
end
answer[1], answer[2], answer[3] = marked, deleted, more
return answer
