-- Admit one request under all its limits, or none of them. Times in microseconds since 2026-01-01 UTC.
-- KEYS: the buckets, then the slot sets, then nothing else.
-- ARGV: lease id, lease length, number of buckets, then interval, burst, cost for each bucket,
--       then the most that may run at once for each slot set.
-- Returns {allowed, wait (-1: never), place of the refusing key (1-based, 0: none), now,
--          full_at of each bucket ...}; a refused request changes nothing.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local lease, length, buckets = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local before, after, wait, refused = {}, {}, 0, 0
local arg = 4
for i = 1, buckets do
  local interval, burst, cost = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  arg = arg + 3
  local full = tonumber(redis.call('GET', KEYS[i]) or '0')
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
local slots = #KEYS - buckets
for i = 1, slots do
  local key = KEYS[buckets + i]
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if refused == 0 and redis.call('ZCARD', key) >= tonumber(ARGV[arg]) then
    refused = buckets + i
  end
  arg = arg + 1
end
local answer = {1, 0, 0, string.format('%.0f', now)}
if refused > 0 then
  answer = {0, wait < 0 and -1 or math.ceil(wait), refused, string.format('%.0f', now)}
  for i = 1, buckets do answer[4 + i] = string.format('%.3f', before[i]) end
  return answer
end
for i = 1, buckets do
  local life = math.ceil((after[i] - now) / 1000) + 1000
  redis.call('SET', KEYS[i], string.format('%.3f', after[i]), 'PX', string.format('%d', life))
  answer[4 + i] = string.format('%.3f', after[i])
end
for i = 1, slots do
  local key = KEYS[buckets + i]
  redis.call('ZADD', key, string.format('%.0f', now + length), lease)
  redis.call('PEXPIRE', key, string.format('%d', length / 1000 + 60000))
end
return answer
