-- Drop an entry that nobody can read.   KEYS: the entry.
return redis.call('DEL', KEYS[1])
