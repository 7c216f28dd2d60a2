#!lua flags=allow-oom
-- Forgets a response.
-- ARGV: id, owner
-- Returns: {} for none of that owner's · {job} ('' when it had ended, else what is still to be cancelled)
local key = P .. 'response:' .. ARGV[1]
local r = call('HMGET', key, 'owner', 'job', 'ended')
if r[1] ~= ARGV[2] then return {} end
call('DEL', key)
return { r[3] == '1' and '' or r[2] }
