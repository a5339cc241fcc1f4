-- POST load for wrk. Arguments: key, body (or @ and a file with it), run id. "{n}" in the body becomes a number used once.
-- Without "{n}" the request is built once, which is what makes wrk cheap.
local count = 0

function init(args)
  local key, body, run = args[1], args[2], args[3]
  if body:sub(1, 1) == "@" then
    body = io.open(body:sub(2)):read("*a")
  end
  wrk.method = "POST"
  wrk.body = body
  wrk.headers["content-type"] = "application/json"
  wrk.headers["authorization"] = "Bearer " .. key
  local from, to = body:find("{n}", 1, true)
  if from then
    local head, tail = body:sub(1, from - 1), body:sub(to + 1)
    request = function()
      count = count + 1
      return wrk.format(nil, nil, nil, head .. run .. "-" .. count .. tail)
    end
  end
end

-- One line of JSON after wrk's own text; durations in microseconds.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "micros": %d, "p50": %d, "p90": %d, "p99": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(90), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
