-- Point a meaning to an answer. Times in milliseconds.   KEYS: the meaning.
-- ARGV: fingerprint of the answer, time to live.
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
