-- Admit one request under all its limits, or none of them. Times in microseconds since 2026-01-01 UTC.
-- KEYS: the buckets, then the slot sets, then the tenant's index (see sweep.lua).
-- ARGV: lease id, lease length, number of buckets, then interval, burst, cost for each bucket,
--       then the most that may run at once for each slot set.
-- Returns {allowed, wait (-1: never), place of the refusing key (1-based, 0: none), now,
--          full_at of each bucket ...}; a refused request changes nothing.
-- Nothing here expires by itself: an eviction policy takes what expires first, and a bucket that is
-- forgotten is a full one. What is new is named in the index, which says when it may go.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local lease, length, buckets = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local index = KEYS[#KEYS]
local before, after, new, wait, refused = {}, {}, {}, 0, 0
local arg = 4
for i = 1, buckets do
  local interval, burst, cost = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  arg = arg + 3
  local full = redis.call('GET', KEYS[i])
  new[i] = not full
  full = tonumber(full or '0')
  before[i] = full
  if full < now then full = now end
  after[i] = full + cost * interval
  local over = after[i] - now - burst * interval
  if cost > burst then
    wait, refused = -1, i
  elseif over >= 0.5 and wait >= 0 and over > wait then
    wait, refused = over, i
  end
end
local slots = #KEYS - buckets - 1
for i = 1, slots do
  local key = KEYS[buckets + i]
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  local taken = redis.call('ZCARD', key)
  new[buckets + i] = taken == 0
  if refused == 0 and taken >= tonumber(ARGV[arg]) then refused = buckets + i end
  arg = arg + 1
end
local answer = {1, 0, 0, string.format('%.0f', now)}
if refused > 0 then
  answer = {0, wait < 0 and -1 or math.ceil(wait), refused, string.format('%.0f', now)}
  for i = 1, buckets do answer[4 + i] = string.format('%.3f', before[i]) end
  return answer
end
for i = 1, buckets do
  answer[4 + i] = string.format('%.3f', after[i])
  redis.call('SET', KEYS[i], answer[4 + i])
  if new[i] then redis.call('ZADD', index, answer[4 + i], KEYS[i]) end
end
for i = 1, slots do
  local key = KEYS[buckets + i]
  local ends = string.format('%.0f', now + length)
  redis.call('ZADD', key, ends, lease)
  if new[buckets + i] then
    redis.call('ZADD', index, ends, key)
  else
    redis.call('PERSIST', key)  -- a worker of an earlier release lets it expire
  end
end
return answer
