-- Keep answers, and end the flight that brought them if it is still ours. Times in milliseconds,
-- sizes in units of 256 bytes. What finds no room is not kept.
-- KEYS: the flight, what the tenant has (see cached.lua), then the entries.
-- ARGV: id of the flight ('': none), prefix of the tenant's keys, most units of a tenant ('': count
-- nothing), what each tenant may have when the cache is full, 1 while it is not, then value and time
-- to live of each entry.
if #KEYS > 2 then
  local cached, limit
  if ARGV[3] ~= '' then
    cached = open_cached(KEYS[2], ARGV[2])
    limit = limit_of(cached, tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
  end
  for i = 3, #KEYS do
    if not cached or limit and take(cached, KEYS[i], #ARGV[2 * i], limit) then
      redis.call('SET', KEYS[i], ARGV[2 * i], 'PX', ARGV[2 * i + 1])
    end
  end
  if cached and limit then
    forget_lost(cached, 8)
    save_cached(cached)
  end
end
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
