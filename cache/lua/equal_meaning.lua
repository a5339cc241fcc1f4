-- The entry that a meaning points to, unless it is purged or must not be served here.
-- KEYS: the meaning, what the asker must not get, the partition's samples, when what was purged.
-- ARGV: fingerprint of what was asked, prefix of entries, prefix of quarantined ones, name of the
-- tier's state, then the purge fields that cover them.
-- Returns {fingerprint or false, entry or false, state}; the keys behind the prefixes have the same
-- hash tag as those given.
local digest = redis.call('GET', KEYS[1])
if not digest or digest == ARGV[1] then return {false, false, 0} end
if redis.call('SISMEMBER', KEYS[2], digest) == 1 then return {false, false, 0} end
if redis.call('EXISTS', ARGV[3] .. digest) == 1 then return {false, false, 0} end
local entry = redis.pcall('GET', ARGV[2] .. digest)
if type(entry) == 'table' or not entry then return {false, false, 0} end
local fields = {}
for i = 5, #ARGV do fields[#fields + 1] = ARGV[i] end
local asked = tonumber(string.match(entry, '^%[(%d+),') or '0')
for _, moment in ipairs(redis.call('HMGET', KEYS[4], unpack(fields))) do
  if moment and tonumber(moment) >= asked then return {false, false, 0} end
end
return {digest, entry, tonumber(redis.call('HGET', KEYS[3], ARGV[4]) or '0')}
