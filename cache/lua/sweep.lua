-- Remove what a tenant no longer needs. Times in microseconds since 2026-01-01 UTC.
-- KEYS: the tenant's index (sorted set: names of keys by when they may go).   ARGV: the most to look at.
-- A bucket stays until it is full again, a set of leases while one of them runs; everything else goes
-- at its time. Returns {looked at, left in the index}. The keys have the same hash tag as the index.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, key in ipairs(due) do
  local kind = redis.call('TYPE', key)
  kind = type(kind) == 'table' and kind['ok'] or kind
  local stays = 0
  if kind == 'string' then
    stays = tonumber(redis.call('GET', key)) or 0
  elseif kind == 'zset' then
    stays = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  end
  if stays > now then
    redis.call('ZADD', KEYS[1], string.format('%.0f', stays), key)
  else
    redis.call('UNLINK', key)
    redis.call('ZREM', KEYS[1], key)
  end
end
return {#due, redis.call('ZCARD', KEYS[1])}
