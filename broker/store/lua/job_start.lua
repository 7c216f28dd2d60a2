#!lua flags=allow-oom
-- Begins an attempt of a claimed job that the claiming replica looked at: an agent's, with the request that it made, or the
-- loop that it is to run. If its place was taken meanwhile, or that replica was so slow that another claimed it, nothing begins.
-- ARGV: settings (JSON; shared/attempts.lua), replica, id, llm (the agent's; '' = none), model (else who answers for that;
--       '' = none), body, loop (1: it is a loop)
-- Returns: {'gone'} · {'later'} · {'begun'} · {'public', owner, operation, streaming, body, and what `begin_attempt` says} ·
--          {'loop', tid, owner, llm, ms until its end, priority, may_wake}
local a, replica, id, llm, model, body = cjson.decode(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local now = now_ms()
local j = job_of(id)
if not j or j.state ~= 'queued' or not call('ZSCORE', P .. 'job-timers', 'r:' .. id) then return { 'gone' } end
local s
if llm ~= '' then
  s = seat_at(llm, now, a)
elseif model ~= '' then
  s = seat_of(model, 'pm', j, now, a)
end
local how = s and way_in(j, s, now)
local loop = ARGV[7] == '1'
if not how or (loop and looped_full(s, now, a)) then
  call('ZREM', P .. 'job-timers', 'r:' .. id)
  join_queue(j, true)
  rest_queue(j.target, now + a.pollMs)
  return { 'later' }
end
-- The next may begin too.
rest_queue(j.target, 0)
if loop then return { 'loop', begin_loop(j, s, how, replica, now, a) } end
local call_it = begin_attempt(j, s, how, body, replica, now, a)
if not call_it then return { 'begun' } end
return { 'public', j.owner, j.operation, j.streaming and 1 or 0, body, unpack(call_it) }
