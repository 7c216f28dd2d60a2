#!lua
-- Keeps a secret's sealed value; the one before is gone with that.
-- ARGV: name, sealed, key (which one sealed it)
-- Returns: {'created' | 'replaced', createdAt, updatedAt}
local name, now = ARGV[1], int(now_ms())
local key = P .. 'secret:' .. name
local new = call('HSETNX', key, 'createdAt', now) == 1
call('HSET', key, 'sealed', ARGV[2], 'key', ARGV[3], 'updatedAt', now)
call('SADD', P .. 'secrets', name)
emit(new and 'secret.created' or 'secret.replaced', name, '')
return { new and 'created' or 'replaced', call('HGET', key, 'createdAt'), now }
