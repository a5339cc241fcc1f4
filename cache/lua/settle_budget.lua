-- After an answer: turn a hold into what was really spent, and note its usage with it. Money in
-- nano-dollars, times in unix seconds.
-- KEYS: for each budget its account and its leases, as in reserve.lua, then the tenant's settlements
--       (list) and its index.
-- ARGV: hold id, real cost, how it stands with the hold: 0 it was held, 1 it was held and this may be
--       a repetition, 2 it never was (let through); the usage as fold_settled.lua reads it ('': none),
--       then for each budget until when its account is kept.
-- A repetition whose hold is gone was settled already; a hold that only ran out (x:ID) is charged;
-- what was never held is charged once (u:ID). What is charged is counted, in the same step.
local id, cost, how = ARGV[1], ARGV[2], ARGV[3]
local charged = false
for i = 1, (#KEYS - 2) / 2 do
  local account, leases = KEYS[2 * i - 1], KEYS[2 * i]
  local amount = redis.call('HGET', account, 'h:' .. id)
  if amount then
    redis.call('HINCRBY', account, 'held', string.format('%.0f', 0 - tonumber(amount)))
    redis.call('HDEL', account, 'h:' .. id)
    redis.call('ZREM', leases, id)
  end
  local due = amount or redis.call('HDEL', account, 'x:' .. id) == 1 or how == '0'
  if how == '2' then due = redis.call('HSETNX', account, 'u:' .. id, 1) == 1 end
  if due then
    charged = true
    if redis.call('HINCRBY', account, 'spent', cost) == tonumber(cost) then
      -- The first of its account, which may have been made just now.
      local kept = (tonumber(ARGV[4 + i]) - 1767225600) * 1000000
      redis.call('ZADD', KEYS[#KEYS], string.format('%.0f', kept), account)
    end
  end
end
if charged then
  for line in string.gmatch(ARGV[4], '[^\n]+') do redis.call('RPUSH', KEYS[#KEYS - 1], line) end
end
return 1
