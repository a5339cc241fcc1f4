-- Copy lines of the audit log into a stream.   KEYS: the stream.
-- ARGV: the most entries that it keeps (about), the name of the field, the lines.
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', ARGV[2], ARGV[i])
end
return 1
