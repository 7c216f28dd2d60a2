#!lua
-- Accepts a job. Must be one step with the look at its key and at how many wait, or a job that is sent twice would be two.
-- ARGV: id, owner, target, named (1: only an LLM of that name will do), body (JSON on one line), operation, streaming (0|1),
--       priority, may_wake (0|1), deadline_ms (relative; '' = none), webhook (JSON; '' = none), key (digest of its
--       Idempotency-Key; '' = none), fingerprint (of the request), key_ttl_ms, most (jobs that may be queued)
-- Returns: {'made', id, 1 when its queue is to be looked at now (0: it was lately, and nothing could begin)} · {'again', id} (the same was asked before) · {'mismatch'} · {'unknown'} · {'late'} · {'full', how many}
local id, owner, target, body, webhook = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[11]
local deadline_ms, key, fingerprint = tonumber(ARGV[10]), ARGV[12], ARGV[13]

local held = key ~= '' and call('GET', P .. 'job-keys:' .. key)
if held then
  local before, asked = string.match(held, '^(%S+) (%S+)$')
  if call('EXISTS', P .. 'job:' .. before) == 1 then return asked == fingerprint and { 'again', before } or { 'mismatch' } end
end
-- Tool servers have rows beside the LLMs, which no client asks.
local known = call('EXISTS', P .. 'llm:' .. target) == 1 and string.sub(target, 1, 7) ~= '_tools/'
if not known and ARGV[4] ~= '1' then
  local agent = string.match(target, '^agent/(.+)$')
  known = call('EXISTS', P .. 'alias:' .. target, P .. 'pool:' .. target, P .. 'model-llms:' .. target) > 0
    or (agent and call('EXISTS', P .. 'agent:' .. agent) == 1)
end
if not known then return { 'unknown' } end
if deadline_ms and deadline_ms <= 0 then return { 'late' } end
local queued = tonumber(call('GET', P .. 'jobs-queued') or '0')
if queued >= tonumber(ARGV[15]) then return { 'full', int(queued) } end

local t = call('TIME')
local made = tonumber(t[1]) * 1000000 + tonumber(t[2])
local deadline = deadline_ms and int(made / 1000 + deadline_ms) or ''
local meta = table.concat({ int(made), deadline, ARGV[8], ARGV[6], ARGV[7], ARGV[9], target, owner }, '\n')
call('HSET', P .. 'job:' .. id, 's', 'queued', 'm', meta, 'b', body)
if webhook ~= '' then call('HSET', P .. 'job:' .. id, 'w', webhook) end
call('ZADD', P .. 'jobs-of:' .. owner, int(made), id)
if deadline ~= '' then call('ZADD', P .. 'job-timers', deadline, 'd:' .. id) end
if key ~= '' then call('SET', P .. 'job-keys:' .. key, id .. ' ' .. fingerprint, 'PX', ARGV[14]) end
join_queue({ id = id, target = target, owner = owner, priority = ARGV[8] })
local due = tonumber(call('ZSCORE', P .. 'queues', target)) <= made / 1000
return { 'made', id, due and 1 or 0 }
