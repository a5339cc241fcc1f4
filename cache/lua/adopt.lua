-- Count leases that were given without this store. Times in microseconds since 2026-01-01 UTC.
-- KEYS: one sorted set of leases by expiry.
-- ARGV: lease length, then lease ids.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local length = tonumber(ARGV[1])
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + length), ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], string.format('%d', length / 1000 + 60000))
return 1
