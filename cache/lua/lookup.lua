-- Look up answers and, where that is asked and not all are fresh, become or find the one who asks
-- the upstream. Times in milliseconds since 1970.
-- KEYS: when what was purged, the flight, then the entries.
-- ARGV: lease of a flight, id of the flight to begin ('': do not), greatest age (-1: any),
--       1 to read entries, the rules that answers must have passed, then the purge fields.
-- Returns {now, id of the flight under way (false: none), entry or false ...}; purged entries and
-- those that passed other rules count as none, stale ones are returned.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answer = {now, false}
local all_fresh = #KEYS > 2
if ARGV[4] == '1' and #KEYS > 2 then
  local purged, oldest = 0, tonumber(ARGV[3])
  local fields = {}
  for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
  for _, moment in ipairs(redis.call('HMGET', KEYS[1], unpack(fields))) do
    if moment and tonumber(moment) > purged then purged = tonumber(moment) end
  end
  for i = 3, #KEYS do
    local entry = redis.pcall('GET', KEYS[i])
    local fresh = false
    if type(entry) == 'table' then
      entry = ''
    elseif entry then
      local asked, stored, till = string.match(entry, '^%[(%d+),(%d+),(%d+),')
      local policy = string.match(entry, '^[^\n]*,"(%x*)"%]\n')
      if asked and (tonumber(asked) <= purged or (policy or '') ~= ARGV[5]) then
        entry = false
      elseif asked then
        fresh = now < tonumber(till) and (oldest < 0 or now - tonumber(stored) <= oldest)
      end
    end
    all_fresh = all_fresh and fresh
    answer[i] = entry
  end
else
  all_fresh = false
  for i = 3, #KEYS do answer[i] = false end
end
if ARGV[2] ~= '' and not all_fresh then
  local holder = redis.call('GET', KEYS[2])
  if not holder then
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[1])
    holder = ARGV[2]
  end
  answer[2] = holder
end
return answer
