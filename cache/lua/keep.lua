-- Keep answers, and end the flight that brought them if it is still ours. Times in milliseconds.
-- KEYS: the flight, then the entries.   ARGV: id of the flight ('': none), then value and time to
-- live of each entry.
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[2 * i - 2], 'PX', ARGV[2 * i - 1])
end
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
