-- After an answer: turn a hold into what was really spent. Money in nano-dollars.
-- KEYS: for each budget its account and its leases, as in reserve.lua.
-- ARGV: hold id, real cost, seconds to keep an account, 1 where this may be a repetition.
-- A repetition whose hold is gone was settled already; a hold that only ran out (x:ID) is charged.
local id, cost = ARGV[1], ARGV[2]
for i = 1, #KEYS / 2 do
  local account, leases = KEYS[2 * i - 1], KEYS[2 * i]
  local amount = redis.call('HGET', account, 'h:' .. id)
  if amount then
    redis.call('HINCRBY', account, 'held', '-' .. amount)
    redis.call('HDEL', account, 'h:' .. id)
    redis.call('ZREM', leases, id)
  end
  if amount or redis.call('HDEL', account, 'x:' .. id) == 1 or ARGV[4] ~= '1' then
    redis.call('HINCRBY', account, 'spent', cost)
    redis.call('EXPIRE', account, ARGV[3])
  end
end
return 1
