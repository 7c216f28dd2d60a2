#!lua flags=allow-oom
-- How a member of a pool did with a request: what failed counts against it (shared/health.lua), and what went well puts one that
-- was taken out back into the choice. One step, or two reports of one second would each count as the third.
-- ARGV: llm, outcome (ok | failed | lost), why (what went wrong), request, task (its attempt), accept_ms
-- Returns: 'ok'
local llm, outcome, why, request, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], now_ms()
if outcome ~= 'ok' then orders().explain(request, { at = now, failed = why, task = ARGV[5] }) end
if call('EXISTS', P .. 'llm:' .. llm) == 0 then return 'ok' end
if outcome == 'failed' then failed_once(llm, now) end
if outcome == 'ok' and came_back(llm, now) then promote(llm, now, tonumber(ARGV[6])) end
return 'ok'
