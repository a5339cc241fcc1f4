-- Say that a worker lives, and hear who lives, what time it is and which store this is. Times in unix
-- seconds.
-- KEYS: workers by when they count as gone (sorted set), what the store is known by (hash: id, and a
--       field per claim).
-- ARGV: worker, seconds that it counts from now, the id that the store gets where it has none.
-- Returns {seconds, microseconds, workers, id}.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now))
redis.call('ZADD', KEYS[1], string.format('%.6f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('HSETNX', KEYS[2], 'id', ARGV[3])
return {time[1], time[2], redis.call('ZCARD', KEYS[1]), redis.call('HGET', KEYS[2], 'id')}
