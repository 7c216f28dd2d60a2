-- Lists of what an owner has, by age.

-- Adds a row to its owner's list, which lasts as long as its longest row.
local function index_row(index, id, ttl_ms)
  call('ZADD', index, now_ms(), id)
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
