-- Add what settlements noted to the counters by hour and by day. Times in microseconds since
-- 2026-01-01 UTC, but seconds in ARGV.
-- KEYS: the tenant's settlements, its index.
-- ARGV: what the names of its counters begin with, seconds to keep an hour's and a day's counters, the
--       most settlements to take.
-- A settlement is HOUR|requests|prompt tokens|completion tokens|cost|KEY|MODEL; the hour's first ten
-- letters are its day. Where some of its tokens have prices of their own, the next line is
-- HOUR|+cached|cache writes|reasoning|KEY|MODEL. The sums of a period over all keys stand beside it,
-- under PERIOD:models, so that a total takes the same time however many keys there are. Returns how many
-- are left. The counters have the same hash tag as the keys.
local taken = redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[4]) - 1)
if #taken == 0 then return 0 end
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 1000000
local names = {'requests', 'prompt_tokens', 'completion_tokens', 'cost'}
local details = {'cached_tokens', 'cache_write_tokens', 'reasoning_tokens'}
local sums = {}
local function take(found, counted)
  for _, period in ipairs({found[1], string.sub(found[1], 1, 10)}) do
    sums[period] = sums[period] or {}
    for i, name in ipairs(counted) do
      local field = found[2 + #counted] .. '|' .. name
      sums[period][field] = (sums[period][field] or 0) + tonumber(found[1 + i])
    end
  end
end
for _, settlement in ipairs(taken) do
  local found = {string.match(settlement, '^([^|]+)|(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')}
  if found[1] then
    take(found, names)
  else
    found = {string.match(settlement, '^([^|]+)|%+(%d+)|(%d+)|(%d+)|(.*)$')}
    if found[1] then take(found, details) end
  end
end
local function add(counters, fields, seconds)
  for field, amount in pairs(fields) do
    if amount > 0 then redis.call('HINCRBY', counters, field, string.format('%.0f', amount)) end
  end
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(seconds) * 1000000), counters)
  redis.call('PERSIST', counters)
end
for period, fields in pairs(sums) do
  local seconds = #period > 10 and ARGV[2] or ARGV[3]
  local models = {}
  for field, amount in pairs(fields) do
    local model = string.match(field, '|.*$')
    models[model] = (models[model] or 0) + amount
  end
  add(ARGV[1] .. period, fields, seconds)
  add(ARGV[1] .. period .. ':models', models, seconds)
end
redis.call('LTRIM', KEYS[1], #taken, -1)
return redis.call('LLEN', KEYS[1])
