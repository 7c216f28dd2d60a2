#!lua flags=allow-oom
-- Keeps what an upstream answered, by the replica that called it. Must be one step with the look whether the task still
-- runs, or words could follow its last.
-- ARGV: tid, replica, parts
-- Returns: 'on' · 'ended' (by these, or before)
local tid, replica, parts = ARGV[1], ARGV[2], ARGV[3]
local t = call('HMGET', P .. 'task:' .. tid, 'keep', 'reply', 'llm')
if not t[1] or t[2] ~= replica then return 'ended' end
local _, ended = keep_parts(tid, parts)
if not ended then return 'on' end
forget(tid, nil, t[3], nil, replica)
return 'ended'
