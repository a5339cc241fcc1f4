-- Keep a vector and what is said of it, until a moment. Times in milliseconds since 1970, sizes in
-- units of 256 bytes.
-- KEYS: the vectors of a partition, what the tenant has (see cached.lua).
-- ARGV: the vector (32-bit floats), element, what is said, until, the most elements, bytes to count for
-- each, prefix of the tenant's keys, most units of a tenant ('': count nothing), what each may have
-- when the cache is full, 1 while it is not.
if ARGV[8] ~= '' then
  local cached = open_cached(KEYS[2], ARGV[7])
  local limit = limit_of(cached, tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]))
  local bytes = (redis.call('VCARD', KEYS[1]) + 1) * tonumber(ARGV[6])
  if not limit or not take(cached, KEYS[1], bytes, limit) then return 0 end
  save_cached(cached)
end
redis.call('VREM', KEYS[1], ARGV[2])
redis.call('VADD', KEYS[1], 'FP32', ARGV[1], ARGV[2], 'SETATTR', ARGV[3])
local left = redis.call('PTTL', KEYS[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if left < 0 or now + left < tonumber(ARGV[4]) then redis.call('PEXPIREAT', KEYS[1], ARGV[4]) end
-- Two, because one of them may be the new one.
while redis.call('VCARD', KEYS[1]) > tonumber(ARGV[5]) do
  for _, one in ipairs(redis.call('VRANDMEMBER', KEYS[1], 2)) do
    if one ~= ARGV[2] then redis.call('VREM', KEYS[1], one) break end
  end
end
return 1
