-- Count leases that were given without this store. Times in microseconds since 2026-01-01 UTC.
-- KEYS: one sorted set of leases by expiry, the tenant's index (see sweep.lua).
-- ARGV: lease length, then lease ids.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local ends = string.format('%.0f', now + tonumber(ARGV[1]))
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], ends, ARGV[i]) end
redis.call('ZADD', KEYS[2], 'NX', ends, KEYS[1])
return 1
