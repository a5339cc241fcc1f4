-- What time it is: {unix seconds, microseconds}.   KEYS: any name, so that a cluster knows whom to ask.
return redis.call('TIME')
