-- After an answer: turn a hold into what was really spent. Money in nano-dollars.
-- KEYS: for each budget its account and its leases, as in reserve.lua.
-- ARGV: hold id, real cost, seconds to keep an account, and how it stands with the hold:
--       0 it was held, 1 it was held and this may be a repetition, 2 it never was (let through).
-- A repetition whose hold is gone was settled already; a hold that only ran out (x:ID) is charged;
-- what was never held is charged once (u:ID).
local id, cost = ARGV[1], ARGV[2]
for i = 1, #KEYS / 2 do
  local account, leases = KEYS[2 * i - 1], KEYS[2 * i]
  local amount = redis.call('HGET', account, 'h:' .. id)
  if amount then
    redis.call('HINCRBY', account, 'held', string.format('%.0f', 0 - tonumber(amount)))
    redis.call('HDEL', account, 'h:' .. id)
    redis.call('ZREM', leases, id)
  end
  local due = amount or redis.call('HDEL', account, 'x:' .. id) == 1 or ARGV[4] == '0'
  if ARGV[4] == '2' then due = redis.call('HSETNX', account, 'u:' .. id, 1) == 1 end
  if due then
    redis.call('HINCRBY', account, 'spent', cost)
    redis.call('EXPIRE', account, ARGV[3])
  end
end
return 1
