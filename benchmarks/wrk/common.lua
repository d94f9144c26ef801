-- What every scenario shares: requests made before the clock starts, a paced schedule, one line of JSON at the end.
--
-- The arguments after `--` are the folder with the files that Python wrote, then what the scenario wants.
-- BENCH_RATE, when it is set, is the number of requests per second to send; without it wrk sends all that it can.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *now);
]]

local common = { requests = {} }
local CLOCK_MONOTONIC = ffi.os == "OSX" and 6 or 1
local now_value = ffi.new("bench_time")

local function milliseconds()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, now_value)
  return tonumber(now_value.seconds) * 1000 + tonumber(now_value.nanoseconds) / 1e6
end

-- The lines of a file in the folder of this run.
function common.lines(folder, name)
  local found = {}
  for line in io.lines(folder .. "/" .. name) do
    found[#found + 1] = line
  end
  return found
end

-- A GET for a line of players.txt, a score write for a line of tokens.txt.
function common.get(path)
  return wrk.format("GET", path)
end

function common.post(path, token, body)
  local headers = { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }
  for name, value in pairs(wrk.headers) do
    headers[name] = value
  end
  return wrk.format("POST", path, headers, body)
end

-- wrk asks for the next request and for the pause before it.
local place = 0

function request()
  place = place % #common.requests + 1
  return common.requests[place]
end

local rate = tonumber(os.getenv("BENCH_RATE") or "")
if rate then
  -- Poisson arrivals on one schedule for all connections: a late answer does not slow the schedule down.
  local next_at
  math.randomseed(7)
  function delay()
    local now = milliseconds()
    next_at = (next_at or now) - math.log(1 - math.random()) * 1000 / rate
    return math.max(0, math.floor(next_at - now + 0.5))
  end
end

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function done(summary, latency)
  local refused = 0
  for _, thread in ipairs(threads) do
    refused = refused + (thread:get("refused") or 0)
  end
  local errors = summary.errors
  io.write(string.format(
    '\nBENCH {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p90_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, '
      .. '"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d, "refused": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.connect, errors.read, errors.write, errors.timeout, errors.status, refused
  ))
end

return common
