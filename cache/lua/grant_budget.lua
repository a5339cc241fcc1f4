-- Let a budget spend more until its window ends, once for each act. Money in nano-dollars.
-- KEYS: its account (see reserve.lua; g:ACT per grant), the tenant's index.
-- ARGV: act, the unix second until which the account is kept, amount.
if redis.call('HSETNX', KEYS[1], 'g:' .. ARGV[1], ARGV[3]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'granted', ARGV[3])
redis.call('HSET', KEYS[1], 'kept', ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', (tonumber(ARGV[2]) - 1767225600) * 1000000), KEYS[1])
return 1
