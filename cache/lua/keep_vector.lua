-- Keep a vector and what is said of it, until a moment. Times in milliseconds since 1970.
-- KEYS: the vectors of a partition.   ARGV: the vector (32-bit floats), element, what is said, until,
-- the most elements.
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
