-- Drop an entry.   KEYS: the entry.
return redis.call('DEL', KEYS[1])
