-- Give out the one probe of a target whose breaker was open for long enough. Times in milliseconds.
-- KEYS: the target's state and the index, as in report_target.lua.
-- ARGV: the target's name, the lease's own name, its length.
-- Returns {now, 1 where it was given or else 0, open, length, probe, lease, closed, rest}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local key, index = KEYS[1], KEYS[2]
local stand = redis.call('HMGET', key, 'open', 'length', 'probe', 'lease', 'closed', 'rest')
local function whole(value) return string.format('%.0f', value) end
local open, length, probe = tonumber(stand[1] or '0'), tonumber(stand[2] or '0'), stand[3] or ''
local lease, closed, rest = tonumber(stand[4] or '0'), tonumber(stand[5] or '0'), tonumber(stand[6] or '0')
local given = 0
if open > 0 and now >= open and (probe == '' or now >= lease) then
  given, probe, lease = 1, ARGV[2], now + tonumber(ARGV[3])
  redis.call('HSET', key, 'probe', probe, 'lease', whole(lease))
  redis.call('HSET', index, ARGV[1], table.concat({whole(open), length, probe, whole(lease),
    whole(closed), whole(rest)}, ' '))
end
return {whole(now), given, whole(open), length, probe, whole(lease), whole(closed), whole(rest)}
