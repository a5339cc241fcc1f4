-- Be the one worker that reports something. Times in unix seconds.
-- KEYS: what the store is known by.   ARGV: what is to be reported, seconds in which it is reported once.
-- Returns 1 for the one who does it, else 0.
local now = tonumber(redis.call('TIME')[1])
local last = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if now < last + tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], now)
return 1
