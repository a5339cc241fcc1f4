-- Whether the store takes writes. Times in milliseconds.   KEYS: a name that nobody reads.
return redis.call('SET', KEYS[1], 1, 'PX', 1000)
