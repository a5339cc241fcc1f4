-- The nearest vectors of a partition with what was said of each. Times in milliseconds since 1970.
-- KEYS: the vectors.   ARGV: the vector (32-bit floats), how many, now.
-- Returns {element, (1 + cosine) / 2, attributes} of each, nearest first; those whose time is over
-- are given up.
local found = redis.call('VSIM', KEYS[1], 'FP32', ARGV[1], 'WITHSCORES', 'COUNT', ARGV[2])
local answer = {}
for i = 1, #found, 2 do
  local said = redis.call('VGETATTR', KEYS[1], found[i])
  local till = said and string.match(said, '"until":(%d+)')
  if till and tonumber(till) > tonumber(ARGV[3]) then
    answer[#answer + 1] = {found[i], found[i + 1], said}
  else
    redis.call('VREM', KEYS[1], found[i])
  end
end
return answer
