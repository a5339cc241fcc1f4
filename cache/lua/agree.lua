-- The text that all processes agree on: whichever was proposed first. It has no time to live.
-- KEYS: the text.   ARGV: a proposal.
local agreed = redis.call('GET', KEYS[1])
if agreed then return agreed end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
