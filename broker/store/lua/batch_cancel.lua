#!lua flags=allow-oom
-- Asks for the end of a batch; whoever runs it hears of that with its next renewal, and keeps what there is.
-- ARGV: id, owner, now_s
-- Returns: 'unknown' (none of that owner's) · its status, `cancelling` or what it ended with
local key = P .. 'batch:' .. ARGV[1]
local b = call('HMGET', key, 'owner', 'status')
if b[1] ~= ARGV[2] then return 'unknown' end
if b[2] ~= 'validating' and b[2] ~= 'in_progress' and b[2] ~= 'finalizing' then return b[2] end
call('HSET', key, 'status', 'cancelling', 'cancelling_at', ARGV[3])
return 'cancelling'
