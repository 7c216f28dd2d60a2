#!lua flags=no-writes
-- Reads a secret's sealed value and the key that sealed it, as one put gave them both.
-- ARGV: name
-- Returns: {} (there is none) · {sealed, key}
local s = call('HMGET', P .. 'secret:' .. ARGV[1], 'sealed', 'key')
if not s[1] then return {} end
return { s[1], s[2] }
