-- Look after what a tenant has: forget what is gone, give up the oldest beyond a target. Sizes in units
-- of 256 bytes.
-- KEYS: what the tenant has (see cached.lua).
-- ARGV: prefix of its keys, how many names to look at, target ('': none).
-- Returns {its units, bytes that the server uses, the most that it may use (0: no bound or not said)}.
local cached = open_cached(KEYS[1], ARGV[1])
if cached.sum > 0 then
  forget_lost(cached, tonumber(ARGV[2]))
  if ARGV[3] ~= '' then make_room(cached, 0, tonumber(ARGV[3]), 512) end
  if redis.call('ZCARD', cached.key) <= 2 then
    cached.sum = 0
    redis.call('DEL', cached.key)
  else
    save_cached(cached)
  end
end
local used, bound = memory()
return {string.format('%.0f', math.max(0, cached.sum)), used, bound}
