-- Say which tenants there are, and take those whose turn it is to be swept. Times in unix seconds.
-- KEYS: tenants by their next turn (sorted set).   ARGV: seconds between two turns, the most to take,
-- then tenants that are served here.
local now = tonumber(redis.call('TIME')[1])
for i = 3, #ARGV do redis.call('ZADD', KEYS[1], 'NX', now, ARGV[i]) end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, tenant in ipairs(due) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), tenant) end
return due
