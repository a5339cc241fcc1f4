-- Hold on to a flight that is still ours. Times in milliseconds.
-- KEYS: the flight.   ARGV: its id, lease.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
