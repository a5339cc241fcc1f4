-- Note when keys were used last, in unix seconds.
-- KEYS: the tenant's keys (hash: id -> when), its index.
-- ARGV: seconds to keep this, then id and time of each.
for i = 2, #ARGV, 2 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  if not known or tonumber(known) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
local time = redis.call('TIME')
local kept = (tonumber(time[1]) - 1767225600 + tonumber(ARGV[1])) * 1000000
redis.call('ZADD', KEYS[2], string.format('%.0f', kept), KEYS[1])
return 1
