-- The entry that a meaning points to, unless it is purged or must not be served here: of the first of
-- these meanings that has one.
-- KEYS: what the asker must not get, the partition's samples, when what was purged, the meanings.
-- ARGV: fingerprint of what was asked, prefix of entries, prefix of quarantined ones, for each meaning
-- the name of its tier's state, then the purge fields that cover them.
-- Returns {which meaning, fingerprint or false, entry or false, state}; the keys behind the prefixes
-- have the same hash tag as those given.
local meanings = #KEYS - 3
local moments
local function purged(entry)
  if not moments then
    local fields = {}
    for i = 4 + meanings, #ARGV do fields[#fields + 1] = ARGV[i] end
    moments = redis.call('HMGET', KEYS[3], unpack(fields))
  end
  local asked = tonumber(string.match(entry, '^%[(%d+),') or '0')
  for _, moment in ipairs(moments) do
    if moment and tonumber(moment) >= asked then return true end
  end
  return false
end
for i = 1, meanings do
  local digest = redis.call('GET', KEYS[3 + i])
  if digest and digest ~= ARGV[1] and redis.call('SISMEMBER', KEYS[1], digest) == 0
      and redis.call('EXISTS', ARGV[3] .. digest) == 0 then
    local entry = redis.pcall('GET', ARGV[2] .. digest)
    if type(entry) ~= 'table' and entry and not purged(entry) then
      return {i, digest, entry, tonumber(redis.call('HGET', KEYS[2], ARGV[3 + i]) or '0')}
    end
  end
end
return {0, false, false, 0}
