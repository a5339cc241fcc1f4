-- Count what became of calls to one target, and open or close its breaker. Times in milliseconds.
-- The rules are those of app/providers/routing/breaker.py, where they are explained.
-- KEYS: the target's state (hash: row, open, length, probe, lease, closed, rest, and s:SLOT, f:SLOT
--       for the calls of five seconds that succeeded and failed), the index of all targets' states.
-- ARGV: the target's name, calls succeeded, failed, failed since the last success, milliseconds to
--       open and to rest, the probe's lease (or nothing), its outcome (1, 0, or nothing), jitter.
-- Returns {now, changed (opened, closed or nothing), row, open, length, probe, lease, closed, rest}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local key, index, name = KEYS[1], KEYS[2], ARGV[1]
local succeeded, failed, trailing = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local opens, rests, jitter = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[9])
local stand = redis.call('HGETALL', key)
local state = {}
for i = 1, #stand, 2 do state[stand[i]] = stand[i + 1] end
local function number(field) return tonumber(state[field] or '0') end
local function whole(value) return string.format('%.0f', value) end
local row, open, length, probe = number('row'), number('open'), number('length'), state['probe'] or ''
local lease, closed, rest = number('lease'), number('closed'), number('rest')
local changed, forget = '', false

local slot = math.floor(now / 5000)
local all_succeeded, all_failed = 0, 0
for field, value in pairs(state) do
  local kind, at = string.match(field, '^([sf]):(%d+)$')
  if kind then
    if tonumber(at) <= slot - 6 or tonumber(at) > slot then
      if succeeded + failed > 0 then redis.call('HDEL', key, field) end
    elseif kind == 's' then
      all_succeeded = all_succeeded + tonumber(value)
    else
      all_failed = all_failed + tonumber(value)
    end
  end
end
if succeeded + failed > 0 then
  all_succeeded, all_failed = all_succeeded + succeeded, all_failed + failed
  if succeeded > 0 then row = trailing else row = row + failed end
end

local function open_for(milliseconds)
  open, row, forget = now + math.floor(milliseconds * jitter), 0, true
end
if ARGV[7] ~= '' and ARGV[7] == probe then
  probe, lease = '', 0
  if ARGV[8] == '1' then
    open, closed, row, forget, changed = 0, now, 0, true, 'closed'
  elseif ARGV[8] == '0' then
    length = math.min(2 * length, 300000)
    open_for(length)
  end
end
local total = all_succeeded + all_failed
if forget then total = 0 end
if opens > 0 then
  if open == 0 then changed = 'opened' end
  if open > 0 then length = math.max(opens, length) else length = opens end
  open, row, forget = math.max(open, now + opens), 0, true
elseif open == 0 and (row >= 5 or (total >= 20 and all_failed * 2 >= total)) then
  if closed > 0 and now - closed < 30000 and length > 0 then
    length = math.min(2 * length, 300000)
  else
    length = 5000
  end
  open_for(length)
  changed = 'opened'
end
if rests > 0 then rest = math.max(rest, now + rests) end

if forget then
  redis.call('DEL', key)
elseif succeeded > 0 then
  redis.call('HINCRBY', key, 's:' .. slot, succeeded)
end
if not forget and failed > 0 then redis.call('HINCRBY', key, 'f:' .. slot, failed) end
redis.call('HSET', key, 'row', row, 'open', whole(open), 'length', length, 'probe', probe,
  'lease', whole(lease), 'closed', whole(closed), 'rest', whole(rest))
redis.call('PEXPIRE', key, 3600000)
if open > 0 or rest > now or now - closed < 30000 then
  redis.call('HSET', index, name, table.concat({whole(open), length, probe, whole(lease),
    whole(closed), whole(rest)}, ' '))
  redis.call('PEXPIRE', index, 3600000)
else
  redis.call('HDEL', index, name)
end
return {whole(now), changed, row, whole(open), length, probe, whole(lease), whole(closed), whole(rest)}
