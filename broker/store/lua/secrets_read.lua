#!lua flags=no-writes
-- Lists the secrets, without their values.
-- ARGV: none
-- Returns: for each {name, key, createdAt, updatedAt}
local secrets = {}
for _, name in ipairs(call('SMEMBERS', P .. 'secrets')) do
  local s = call('HMGET', P .. 'secret:' .. name, 'key', 'createdAt', 'updatedAt')
  if s[1] then secrets[#secrets + 1] = { name, s[1], s[2], s[3] } end
end
return secrets
