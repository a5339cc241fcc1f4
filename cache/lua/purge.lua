-- Everything asked for until now counts as purged. Times in milliseconds since 1970.
-- KEYS: when what was purged.   ARGV: the field.
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
return 1
