-- Hold a cost against every budget of a request, or against none. Money in nano-dollars, times in
-- microseconds since 2026-01-01 UTC, but windows in unix seconds.
-- KEYS: for each budget its account (hash: spent, held, granted on top of the limit, kept, h:ID per
--       hold, x:ID per hold that ran out) and its leases (sorted set), then the tenant's index.
-- ARGV: hold id, lease length, cost, start and end of the time that all the windows share, then for
--       each budget its limit and the unix second until which its account is kept.
-- Returns {allowed, place of the refusing budget (1-based, 0: none), spent, held, granted} of that
-- budget, or of the last one (there without granted); or {-1, unix seconds, microseconds} where it is not the windows' time. Holds whose
-- lease ran out are given back first. Nothing here expires by itself: an eviction policy takes what
-- expires first, and forgets what was spent. The index says when each key may go (see sweep.lua).
local time = redis.call('TIME')
local seconds = tonumber(time[1])
if seconds < tonumber(ARGV[4]) or seconds >= tonumber(ARGV[5]) then return {-1, time[1], time[2]} end
local now = (seconds - 1767225600) * 1000000 + tonumber(time[2])
local id, length, cost = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local budgets = (#KEYS - 1) / 2
local index = KEYS[#KEYS]
local spent, held = 0, 0
local indexed = {}
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
  local stand = redis.call('HMGET', account, 'spent', 'held', 'kept', 'granted')
  spent, held, indexed[i] = tonumber(stand[1] or '0'), tonumber(stand[2] or '0'), stand[3]
  if spent + held + cost > tonumber(ARGV[4 + 2 * i]) + tonumber(stand[4] or '0') then
    return {0, i, string.format('%.0f', spent), string.format('%.0f', held), stand[4] or '0'}
  end
end
for i = 1, budgets do
  local account, leases = KEYS[2 * i - 1], KEYS[2 * i]
  redis.call('HINCRBY', account, 'held', ARGV[3])
  redis.call('HSET', account, 'h:' .. id, ARGV[3])
  redis.call('ZADD', leases, string.format('%.0f', now + length), id)
  if not indexed[i] then
    local kept = string.format('%.0f', (tonumber(ARGV[5 + 2 * i]) - 1767225600) * 1000000)
    redis.call('HSET', account, 'kept', ARGV[5 + 2 * i])
    redis.call('ZADD', index, kept, account, kept, leases)
  end
  -- A worker of an earlier release lets them expire.
  redis.call('PERSIST', account)
  redis.call('PERSIST', leases)
end
return {1, 0, string.format('%.0f', spent), string.format('%.0f', held + cost)}
