#!lua flags=allow-oom
-- Stops one request: it leaves the line, or its publisher is told. Must be one step with the
-- look at its state, or a promotion could come between and run work that nobody wants.
-- ARGV: tid, reason, owner ('' = the asking replica itself, which needs no leave), refusal parts
--       ('' = the asker knows already), accept_ms, unwritten (1: the asker did
--       not write the frame that dispatch gave it), whole (1: the request of that id, whichever of its attempts runs)
-- Returns: 'gone' · 'left' · 'cancelling'
local tid, reason, owner, refusal = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if ARGV[7] == '1' then tid = attempt_of(tid) or tid end
local t = call('HMGET', P .. 'task:' .. tid, 'owner', 'reply', 'llm', 'keep')
if not t[1] or (owner ~= '' and t[1] ~= owner) then return 'gone' end
if refusal == '' and t[4] then refusal = failure(499, 'request_cancelled', reason) end
if refusal ~= '' then tell(t[2], tid, refusal) end
return cancel(tid, reason, tonumber(ARGV[5]), ARGV[6] == '1')
