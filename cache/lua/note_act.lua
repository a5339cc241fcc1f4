-- Note what an operator does beside objects, such as a purge: a generation, the audit record and the
-- answer to a repetition, in one step.
-- KEYS: the state (hash: generation), the audit records (stream), the answer to this request (hash).
-- ARGV: audit record, most audit records, digest of the request ('': it has no repetition), answer,
--       seconds to keep it.
-- Returns {1, generation}, or {2, digest of the request, answer, generation} where it was noted before.
local known = redis.call('HMGET', KEYS[3], 'asked', 'answer', 'revision')
if known[1] then return {2, known[1], known[2], known[3]} end
local generation = redis.call('HINCRBY', KEYS[1], 'generation', 1)
if generation == 1 then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'since', time[1] .. '.' .. time[2])
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'record', ARGV[1], 'generation', generation)
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[3], 'asked', ARGV[3], 'answer', ARGV[4], 'revision', generation)
  redis.call('EXPIRE', KEYS[3], ARGV[5])
end
return {1, generation}
