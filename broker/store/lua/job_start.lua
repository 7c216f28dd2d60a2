#!lua flags=allow-oom
-- Begins an attempt of a claimed job whose request was made by the claiming replica: an agent's. If its place was taken
-- meanwhile, or that replica was so slow that another claimed it, nothing begins.
-- ARGV: settings (JSON; shared/attempts.lua), replica, id, llm (the agent's; '' = none), model (else who has that; '' = none), body
-- Returns: {'gone'} · {'later'} · {'begun'} · {'public', owner, operation, streaming, body, and what `begin_attempt` says}
local a, replica, id, llm, model, body = cjson.decode(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local now = now_ms()
local j = job_of(id)
if not j or j.state ~= 'queued' or not call('ZSCORE', P .. 'job-timers', 'r:' .. id) then return { 'gone' } end
local s
if llm ~= '' then
  s = seat_at(llm, now, a)
elseif model ~= '' then
  s = seat_of_model(model, call('HGET', j.key, 'f') or '', now, a)
end
local how = s and way_in(j, s)
if not how then
  call('ZREM', P .. 'job-timers', 'r:' .. id)
  join_queue(j, true)
  rest_queue(j.target, now + a.pollMs)
  return { 'later' }
end
local call_it = begin_attempt(j, s, how, body, replica, now, a)
if not call_it then return { 'begun' } end
return { 'public', j.owner, j.operation, j.streaming and 1 or 0, body, unpack(call_it) }
