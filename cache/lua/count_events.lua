-- Add to counts.   KEYS: the counts.   ARGV: name and amount of each.
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PERSIST', KEYS[1])  -- a worker of an earlier release lets them expire
return 1
