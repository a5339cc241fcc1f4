-- What was compared of a tier in a partition, with one more comparison or without.
-- KEYS: the partition's samples, its model's, the tenant's verdicts (see verdicts.lua).
-- ARGV: tier, 0 to read, 1 for one that agreed, 2 for one that differed, samples in a window, seconds
-- to keep, most verdicts of a tenant, prefix of its keys.
-- Returns {looked, differed, recent looked and differed, closed, closures, control at the last
-- closing: looked and differed, control now: looked and differed}.
local tier = 'tier' .. ARGV[1] .. '_'
local what, window = tonumber(ARGV[2]), tonumber(ARGV[3])
if what > 0 then
  local differed = what - 1
  if tonumber(redis.call('HGET', KEYS[1], tier .. 'recent_looked') or '0') >= window then
    redis.call('HSET', KEYS[1], tier .. 'recent_looked', 0, tier .. 'recent_differed', 0)
  end
  for _, part in ipairs({'', 'recent_'}) do
    redis.call('HINCRBY', KEYS[1], tier .. part .. 'looked', 1)
    redis.call('HINCRBY', KEYS[1], tier .. part .. 'differed', differed)
  end
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  redis.call('HINCRBY', KEYS[2], tier .. 'looked', 1)
  redis.call('HINCRBY', KEYS[2], tier .. 'differed', differed)
  redis.call('EXPIRE', KEYS[2], ARGV[4])
  local name = string.sub(KEYS[1], #ARGV[6] + 1)
  note_verdicts(KEYS[3], {name}, tonumber(ARGV[5]), tonumber(ARGV[4]), ARGV[6])
end
local fields = {}
for i, name in ipairs({'looked', 'differed', 'recent_looked', 'recent_differed', 'closed', 'closures',
    'base_looked', 'base_differed'}) do
  fields[i] = tier .. name
end
local answer = {}
for i, value in ipairs(redis.call('HMGET', KEYS[1], unpack(fields))) do
  answer[i] = tonumber(value or '0') or 0
end
for i, value in ipairs(redis.call('HMGET', KEYS[2], 'control_looked', 'control_differed')) do
  answer[8 + i] = tonumber(value or '0') or 0
end
return answer
