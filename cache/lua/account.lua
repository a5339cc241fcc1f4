-- One budget as it stands: {spent, held, granted}, after giving back holds whose lease ran out. Money in
-- nano-dollars, times in microseconds since 2026-01-01 UTC.
-- KEYS: its account and its leases.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  local amount = redis.call('HGET', KEYS[1], 'h:' .. old)
  if amount then
    redis.call('HINCRBY', KEYS[1], 'held', string.format('%.0f', 0 - tonumber(amount)))
    redis.call('HDEL', KEYS[1], 'h:' .. old)
    redis.call('HSET', KEYS[1], 'x:' .. old, 1)
  end
  redis.call('ZREM', KEYS[2], old)
end
local stand = redis.call('HMGET', KEYS[1], 'spent', 'held', 'granted')
return {stand[1] or '0', stand[2] or '0', stand[3] or '0'}
