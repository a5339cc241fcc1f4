-- Forget what a budget spent in its window, once for each act; what is held stays held.
-- KEYS: its account (see reserve.lua; r:ACT per reset, with what was forgotten), the tenant's index.
-- ARGV: act, the unix second until which the account is kept.
local spent = redis.call('HGET', KEYS[1], 'spent') or '0'
if redis.call('HSETNX', KEYS[1], 'r:' .. ARGV[1], spent) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'spent', 0, 'kept', ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', (tonumber(ARGV[2]) - 1767225600) * 1000000), KEYS[1])
return 1
