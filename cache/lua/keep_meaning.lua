-- Point a meaning to an answer. Times in milliseconds, sizes in units of 256 bytes.
-- KEYS: the meaning, what the tenant has (see cached.lua).
-- ARGV: fingerprint of the answer, time to live, prefix of the tenant's keys, most units of a tenant
-- ('': count nothing), what each may have when the cache is full, 1 while it is not.
if ARGV[4] ~= '' then
  local cached = open_cached(KEYS[2], ARGV[3])
  local limit = limit_of(cached, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
  if not limit or not take(cached, KEYS[1], #ARGV[1], limit) then return 0 end
  save_cached(cached)
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
