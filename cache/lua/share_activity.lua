-- Share what a worker's requests did: times in seconds.
-- KEYS: the stream of recent records, the workers (hash: the last word of each), the hour's counts.
-- ARGV: worker, its word, the records as one entry (empty: none), most entries to keep, seconds to
--       keep the counts, most different counts, then the field and amount of each count.
-- A count is KIND|..|..|tenant|key|alias. Where there are too many, those that are new are added up
-- without tenant, key and alias, so that what callers do cannot fill the store.
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
if redis.call('HLEN', KEYS[2]) > 1024 then redis.call('DEL', KEYS[2]) end
redis.call('EXPIRE', KEYS[2], 60)
if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'r', ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[5])
end
local most = tonumber(ARGV[6])
for i = 7, #ARGV, 2 do
  local field = ARGV[i]
  if redis.call('HEXISTS', KEYS[3], field) == 0 and redis.call('HLEN', KEYS[3]) >= most then
    field = string.match(field, '^[^|]*|[^|]*|[^|]*') .. '|||'
  end
  redis.call('HINCRBY', KEYS[3], field, ARGV[i + 1])
end
if #ARGV > 6 then redis.call('EXPIRE', KEYS[3], ARGV[5]) end
return 1
