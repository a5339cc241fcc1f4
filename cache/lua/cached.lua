-- What a tenant has in the cache, and room for more; included by the scripts that keep something.
-- Kept in one sorted set: a key's name without the tenant's prefix -> the second in which it was kept
-- (since 2026-01-01 UTC) * 4194304 + its size in units of 256 bytes. Two members are no names and
-- stand before all others: 'sum', the units of all, and 'at', how far the look for lost keys has come.
-- It has no time to live, because an eviction policy must not make us forget what we wrote.
local RADIX, UNIT, AROUND = 4194304, 256, 512 -- AROUND: bytes that a server takes beside a value
local FULL = 0.8 -- of the server's memory, whoever fills it

-- {bytes used, the most that may be}; 0 where there is no bound or the server does not say.
local function memory()
  local told = redis.pcall('INFO', 'memory')
  if type(told) ~= 'string' then return 0, 0 end
  return tonumber(string.match(told, 'used_memory:(%d+)') or '0'),
    tonumber(string.match(told, 'maxmemory:(%d+)') or '0')
end

local function open_cached(key, prefix)
  local sum, at = redis.call('ZSCORE', key, 'sum'), redis.call('ZSCORE', key, 'at')
  local seconds = math.max(1000000, tonumber(redis.call('TIME')[1]) - 1767225600)
  return {key = key, prefix = prefix, sum = tonumber(sum or '0'), at = tonumber(at or '0'),
    score = seconds * RADIX, there = sum and at}
end

-- Before ranks are used: the first two are not names.
local function save_cached(cached)
  redis.call('ZADD', cached.key, string.format('%.0f', math.max(0, cached.sum)), 'sum',
    string.format('%.0f', cached.at), 'at')
  cached.there = true
end

-- The most units that the tenant may have, from what the gateway says: most of a tenant, what each may
-- have when the cache is full, 1 while it is not. None where the server is full.
local function limit_of(cached, most, share, grows)
  local used, bound = memory()
  if bound > 0 then
    if used >= FULL * bound then return nil end
    most = math.min(most, bound / 2 / UNIT)
  end
  if grows == 1 then return most end
  return math.min(most, math.max(share, cached.sum))
end

-- Give up the oldest until so many units more fit; false where that takes more than `visits`.
local function make_room(cached, units, limit, visits)
  while cached.sum + units > limit do
    if visits <= 0 or units > limit then return false end
    if not cached.there then save_cached(cached) end
    local batch = redis.call('ZRANGE', cached.key, 2, 1 + math.min(visits, 16), 'WITHSCORES')
    if #batch == 0 then cached.sum = 0 end -- whatever the sum says
    for i = 1, #batch, 2 do
      if cached.sum + units <= limit then break end
      redis.call('UNLINK', cached.prefix .. batch[i])
      redis.call('ZREM', cached.key, batch[i])
      cached.sum = cached.sum - tonumber(batch[i + 1]) % RADIX
      visits = visits - 1
    end
  end
  return true
end

-- Note that a key takes so many bytes from now on; false, and nothing noted, where there is no room.
local function take(cached, key, bytes, limit)
  local name = string.sub(key, #cached.prefix + 1)
  local units = math.ceil((bytes + AROUND) / UNIT)
  local before = tonumber(redis.call('ZSCORE', cached.key, name) or '0')
  if before > 0 then
    redis.call('ZREM', cached.key, name)
    cached.sum = cached.sum - before % RADIX
  end
  -- The smallest has three units: so many visits are enough, and no more than what is written.
  if not make_room(cached, units, limit, units) then
    if before > 0 then
      redis.call('ZADD', cached.key, string.format('%.0f', before), name)
      cached.sum = cached.sum + before % RADIX
    end
    return false
  end
  redis.call('ZADD', cached.key, string.format('%.0f', cached.score + units), name)
  cached.sum = cached.sum + units
  return true
end

-- Look at the next few names: keys that expired or were evicted take no room any more.
local function forget_lost(cached, count)
  if not cached.there then save_cached(cached) end
  local batch = redis.call('ZRANGE', cached.key, 2 + cached.at, 1 + cached.at + count, 'WITHSCORES')
  for i = 1, #batch, 2 do
    if redis.call('EXISTS', cached.prefix .. batch[i]) == 0 then
      redis.call('ZREM', cached.key, batch[i])
      cached.sum = cached.sum - tonumber(batch[i + 1]) % RADIX
    else
      cached.at = cached.at + 1
    end
  end
  if #batch < 2 * count then cached.at = 0 end
end
