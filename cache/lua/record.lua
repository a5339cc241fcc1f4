-- Write what happened for one tenant, once: counters by hour and by day, and records as stream entries.
-- KEYS: the mark of this batch, the stream of records, then the counter hashes.
-- ARGV: most entries to keep, seconds to keep each hash .. (one per hash), number of entries, the
--       entries, then for each counter: place of its hash (1-based), field, amount.
-- A batch whose answer was lost comes again; its mark, kept for an hour, says that it was written.
if not redis.call('SET', KEYS[1], 1, 'NX', 'EX', 3600) then return 0 end
local hashes = #KEYS - 2
local arg = 2 + hashes
local records = tonumber(ARGV[arg])
for i = 1, records do
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'r', ARGV[arg + i])
end
arg = arg + records + 1
while arg + 2 <= #ARGV do
  redis.call('HINCRBY', KEYS[2 + tonumber(ARGV[arg])], ARGV[arg + 1], ARGV[arg + 2])
  arg = arg + 3
end
for i = 1, hashes do redis.call('EXPIRE', KEYS[2 + i], ARGV[1 + i]) end
return records
