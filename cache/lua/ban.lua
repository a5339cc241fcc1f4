-- Never answer a question by this answer again; with a quarantine, no other question either. Times
-- in seconds. What a tenant banned is bounded: the oldest bans go.
-- KEYS: the tenant's verdicts (sorted set of key names without their prefix, by when they were
-- written), the question's banned answers, the answer's quarantine.
-- ARGV: fingerprint of the answer, 1 for a quarantine, seconds to keep it, most verdicts of a tenant,
-- most answers of a question, prefix of the tenant's keys.
redis.call('SADD', KEYS[2], ARGV[1])
-- Two, because one of them may be the new one.
while redis.call('SCARD', KEYS[2]) > tonumber(ARGV[5]) do
  for _, one in ipairs(redis.call('SRANDMEMBER', KEYS[2], 2)) do
    if one ~= ARGV[1] then redis.call('SREM', KEYS[2], one) break end
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
local written = {string.sub(KEYS[2], #ARGV[6] + 1)}
if ARGV[2] == '1' then
  redis.call('SET', KEYS[3], '1', 'EX', ARGV[3])
  written[2] = string.sub(KEYS[3], #ARGV[6] + 1)
end
note_verdicts(KEYS[1], written, tonumber(ARGV[4]), tonumber(ARGV[3]), ARGV[6])
return 1
