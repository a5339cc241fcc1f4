-- Hold a cost against every budget of a request, or against none. Money in nano-dollars, times in
-- microseconds since 2026-01-01 UTC.
-- KEYS: for each budget its account (hash: spent, held, h:ID per hold, x:ID per hold that ran out) and its leases (sorted set).
-- ARGV: hold id, lease length, cost, seconds to keep an account, then the limit of each budget.
-- Returns {allowed, place of the refusing budget (1-based, 0: none), spent, held, limit} of that
-- budget, or of the last one. Holds whose lease ran out are given back first.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local id, length, cost = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local budgets = #KEYS / 2
local spent, held, limit = 0, 0, 0
for i = 1, budgets do
  local account, leases = KEYS[2 * i - 1], KEYS[2 * i]
  local over = redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 1000)
  for _, old in ipairs(over) do
    local amount = redis.call('HGET', account, 'h:' .. old)
    if amount then
      redis.call('HINCRBY', account, 'held', string.format('%.0f', 0 - tonumber(amount)))
      redis.call('HDEL', account, 'h:' .. old)
      redis.call('HSET', account, 'x:' .. old, 1)
    end
    redis.call('ZREM', leases, old)
  end
  spent = tonumber(redis.call('HGET', account, 'spent') or '0')
  held = tonumber(redis.call('HGET', account, 'held') or '0')
  limit = tonumber(ARGV[4 + i])
  if spent + held + cost > limit then
    return {0, i, string.format('%.0f', spent), string.format('%.0f', held), ARGV[4 + i]}
  end
end
for i = 1, budgets do
  local account, leases = KEYS[2 * i - 1], KEYS[2 * i]
  redis.call('HINCRBY', account, 'held', ARGV[3])
  redis.call('HSET', account, 'h:' .. id, ARGV[3])
  redis.call('ZADD', leases, string.format('%.0f', now + length), id)
  redis.call('EXPIRE', account, ARGV[4])
  redis.call('EXPIRE', leases, ARGV[4])
end
return {1, 0, string.format('%.0f', spent), string.format('%.0f', held + cost), string.format('%.0f', limit)}
