-- Drop an entry that nobody can read, unless another one stands there by now.
-- KEYS: the entry.   ARGV: what was read ('': it was of another type).
local entry = redis.pcall('GET', KEYS[1])
if type(entry) == 'table' or entry == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
