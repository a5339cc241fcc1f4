-- Change one of the operators' objects, if it is what they believe it is: with its indexes, the
-- generation of all objects, the list of changes, the audit record and the answer to a repetition.
-- KEYS: the objects of its kind (hash: id -> 'REVISION DOCUMENT'), their ids (sorted set by name), ids
--       by tenant (the same, TENANT/ID), secrets (hash: digest -> id), the state (hash: generation,
--       trimmed, since: when the first was made), the changes (sorted set of KIND:ID by generation), the audit records (stream), the
--       answer to this request (hash).
-- ARGV: channel, kind, id, expected revision (0: not there), document ('': delete), its tenant and the
--       one that it had ('': none), audit record, most audit records, most changes, digest of the
--       request, answer to keep ('': none), seconds to keep it, the number of digests that the
--       object loses, those, then those that it has from now on.
-- Returns {1, generation}, which is the object's revision; {0, revision} where another one stands
-- there; {-1, id} where another object has one of the digests; {2, digest of the request, answer,
-- revision} where this request was answered before. A deleted object's last change stays in the list.
local known = redis.call('HMGET', KEYS[8], 'asked', 'answer', 'revision')
if known[1] then return {2, known[1], known[2], known[3]} end
local id = ARGV[3]
local old = redis.call('HGET', KEYS[1], id)
local revision = old and string.match(old, '^(%d+) ') or '0'
if revision ~= ARGV[4] then return {0, revision} end
local lost = tonumber(ARGV[14])
for i = 15 + lost, #ARGV do
  local owner = redis.call('HGET', KEYS[4], ARGV[i])
  if owner and owner ~= id then return {-1, owner} end
end
local generation = redis.call('HINCRBY', KEYS[5], 'generation', 1)
if generation == 1 then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[5], 'since', time[1] .. '.' .. time[2])
end
for i = 15, 14 + lost do redis.call('HDEL', KEYS[4], ARGV[i]) end
if ARGV[7] ~= '' then redis.call('ZREM', KEYS[3], ARGV[7] .. '/' .. id) end
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
else
  redis.call('HSET', KEYS[1], id, generation .. ' ' .. ARGV[5])
  redis.call('ZADD', KEYS[2], 0, id)
  if ARGV[6] ~= '' then redis.call('ZADD', KEYS[3], 0, ARGV[6] .. '/' .. id) end
  for i = 15 + lost, #ARGV do redis.call('HSET', KEYS[4], ARGV[i], id) end
end
redis.call('ZADD', KEYS[6], generation, ARGV[2] .. ':' .. id)
local over = redis.call('ZCARD', KEYS[6]) - tonumber(ARGV[10])
if over > 0 then
  local last = redis.call('ZRANGE', KEYS[6], over - 1, over - 1, 'WITHSCORES')
  redis.call('HSET', KEYS[5], 'trimmed', last[2])
  redis.call('ZREMRANGEBYRANK', KEYS[6], 0, over - 1)
end
redis.call('XADD', KEYS[7], 'MAXLEN', '~', ARGV[9], '*', 'record', ARGV[8], 'generation', generation)
if ARGV[12] ~= '' then
  redis.call('HSET', KEYS[8], 'asked', ARGV[11], 'answer', ARGV[12], 'revision', generation)
  redis.call('EXPIRE', KEYS[8], ARGV[13])
end
redis.call('PUBLISH', ARGV[1], generation)
return {1, generation}
