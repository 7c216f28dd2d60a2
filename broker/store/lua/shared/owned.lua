-- Lists of what an owner has, by age.

-- Adds a row to its owner's list, which lasts as long as its longest row; one that is in it stays where it is.
local function index_row(index, id, ttl_ms)
  call('ZADD', index, 'NX', now_ms(), id)
  local left = call('PTTL', index)
  if left < ttl_ms then call('PEXPIRE', index, int(ttl_ms)) end
end

-- Writes a file's row. Times: created in seconds, ttl in milliseconds.
local function put_file(id, owner, filename, purpose, bytes, created, ttl_ms)
  local key = P .. 'file:' .. id
  call('HSET', key, 'id', id, 'owner', owner, 'filename', filename, 'purpose', purpose, 'bytes', bytes, 'created', created,
    'expires', int(tonumber(created) + math.floor(ttl_ms / 1000)))
  call('PEXPIRE', key, int(ttl_ms))
  index_row(P .. 'files-of:' .. owner, id, ttl_ms)
end

-- Lets a file last until then. Times in seconds.
local function keep_file(id, owner, now_s, until_s)
  local ttl_ms = (until_s - tonumber(now_s)) * 1000
  call('HSET', P .. 'file:' .. id, 'expires', int(until_s))
  call('PEXPIRE', P .. 'file:' .. id, int(ttl_ms))
  index_row(P .. 'files-of:' .. owner, id, ttl_ms)
end
