-- After an answer: give back what was reserved and not used (or take what was used beyond it), and
-- free the slots. Times in microseconds since 2026-01-01 UTC.
-- KEYS: the token buckets, then the slot sets, then the tenant's index (see sweep.lua).
-- ARGV: lease id, number of buckets, then interval and units to give back for each (may be negative).
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local lease, buckets = ARGV[1], tonumber(ARGV[2])
local arg = 3
for i = 1, buckets do
  local interval, units = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  arg = arg + 2
  local before = redis.call('GET', KEYS[i])
  local full = tonumber(before or '0')
  if full < now then full = now end
  full = full - units * interval
  if full <= now then
    redis.call('DEL', KEYS[i])
  else
    local text = string.format('%.3f', full)
    redis.call('SET', KEYS[i], text)
    if not before then redis.call('ZADD', KEYS[#KEYS], text, KEYS[i]) end
  end
end
for i = buckets + 1, #KEYS - 1 do redis.call('ZREM', KEYS[i], lease) end
return 1
