-- Lengthen leases that still run. Times in microseconds since 2026-01-01 UTC.
-- KEYS: one sorted set of leases by expiry.
-- ARGV: lease length, then lease ids. A lease that is gone stays gone.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local length = tonumber(ARGV[1])
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now + length), ARGV[i])
end
redis.call('PERSIST', KEYS[1])  -- a worker of an earlier release lets it expire
return 1
