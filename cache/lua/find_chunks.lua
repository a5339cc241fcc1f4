-- The nearest chunks of a set.
-- KEYS: the vectors, what is known of them. ARGV: encoder and dimensions, the vector (32-bit
-- floats), how many, filter expression of the operator's ('': none), expression for whoever asks.
-- Returns {false, {element, (1 + cosine) / 2, attributes} of each}, nearest first; or, where the
-- set is of another encoder or of other dimensions, {its own}.
local there = redis.call('HGET', KEYS[2], 'encoder')
if not there then return {false, {}} end
if there ~= ARGV[1] then return {there, {}} end
local filter = ARGV[4]
-- A filter reads the attributes of every candidate, which doubles the time: only where it may matter.
if redis.call('HEXISTS', KEYS[2], 'restricted') == 1 then
  filter = filter == '' and ARGV[5] or '(' .. filter .. ') and ' .. ARGV[5]
end
local found
if filter == '' then
  found = redis.call('VSIM', KEYS[1], 'FP32', ARGV[2], 'WITHSCORES', 'COUNT', ARGV[3])
else
  found = redis.call(
    'VSIM', KEYS[1], 'FP32', ARGV[2], 'WITHSCORES', 'COUNT', ARGV[3], 'FILTER', filter)
end
local answer = {}
for i = 1, #found, 2 do
  local said = redis.call('VGETATTR', KEYS[1], found[i])
  if said then answer[#answer + 1] = {found[i], found[i + 1], said} end
end
return {false, answer}
