-- Say something to a worker.   ARGV: its channel, the message.
return redis.call('PUBLISH', ARGV[1], ARGV[2])
