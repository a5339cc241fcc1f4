-- Keep a chunk's vector and what is said of it; the first one says of which encoder all are.
-- KEYS: the vectors, what is known of them. ARGV: encoder and dimensions, the vector (32-bit
-- floats), element, attributes, 1 where only some keys may see it.
-- Returns nothing, or the encoder and dimensions of the set where they are others.
local there = redis.call('HGET', KEYS[2], 'encoder')
if there and there ~= ARGV[1] then return there end
if not there then redis.call('HSET', KEYS[2], 'encoder', ARGV[1]) end
if ARGV[5] == '1' then redis.call('HSET', KEYS[2], 'restricted', 1) end
redis.call('VREM', KEYS[1], ARGV[3])
redis.call('VADD', KEYS[1], 'FP32', ARGV[2], ARGV[3], 'SETATTR', ARGV[4])
return false
