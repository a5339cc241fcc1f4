-- Sweep a tenant no more.   KEYS: tenants by their next turn.   ARGV: the tenant.
return redis.call('ZREM', KEYS[1], ARGV[1])
