-- Write down how much some tenants have in the cache, and read it of all.
-- KEYS: units by tenant.   ARGV: tenant and its units, of each.
-- Returns {tenant, units ...}.
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '0' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
return redis.call('HGETALL', KEYS[1])
