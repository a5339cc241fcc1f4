-- What a tenant's verdicts (bans, quarantines, evidence) may hold; included by the scripts that write one.
-- index: sorted set of key names without their prefix, by when they were written (microseconds).
-- names: those written now; most: of all; keep: seconds for which each is kept.
local function note_verdicts(index, names, most, keep, prefix)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  for _, name in ipairs(names) do redis.call('ZADD', index, string.format('%.0f', now), name) end
  redis.call('ZREMRANGEBYSCORE', index, '-inf', string.format('%.0f', now - keep * 1000000))
  local over = redis.call('ZCARD', index) - most
  if over > 0 then
    -- A few at a time: no more than a few come in one step.
    for _, name in ipairs(redis.call('ZRANGE', index, 0, math.min(over, 16) - 1)) do
      redis.call('DEL', prefix .. name)
      redis.call('ZREM', index, name)
    end
  end
  redis.call('EXPIRE', index, keep)
end
