-- Write what happened for one tenant, once: counters by hour and by day, and records as stream entries.
-- Times in microseconds since 2026-01-01 UTC, but seconds in ARGV.
-- KEYS: the latest batch of each worker (sorted set by time), the stream of records, the tenant's
--       index, then the counter hashes.
-- ARGV: worker, time of the batch, seconds to keep the records, most entries to keep, number of
--       entries, the entries, then seconds to keep each hash .. (one per hash), then for each counter:
--       place of its hash (1-based), field, amount.
-- A worker's batches come in order, each with a later time. One whose answer was lost comes again:
-- it is no later than the latest that was written. What is noted here is kept for a day.
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000 + tonumber(time[2])
local latest = redis.call('ZSCORE', KEYS[1], ARGV[1])
if latest and tonumber(latest) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - 86400000000))
local function keep(key, seconds)
  redis.call('ZADD', KEYS[3], string.format('%.0f', now + tonumber(seconds) * 1000000), key)
end
keep(KEYS[1], 86400)
keep(KEYS[2], ARGV[3])
local records = tonumber(ARGV[5])
for i = 1, records do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'r', ARGV[5 + i])
end
local arg = 5 + records
for i = 1, #KEYS - 3 do keep(KEYS[3 + i], ARGV[arg + i]) end
arg = arg + #KEYS - 2
while arg + 2 <= #ARGV do
  redis.call('HINCRBY', KEYS[3 + tonumber(ARGV[arg])], ARGV[arg + 1], ARGV[arg + 2])
  arg = arg + 3
end
-- Workers of an earlier release let them expire.
for i = 4, #KEYS do redis.call('PERSIST', KEYS[i]) end
return records
