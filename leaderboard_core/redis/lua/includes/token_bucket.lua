--[[
The level of a token bucket, which counts 1/window parts of a token, so that refilling is exact whole-number arithmetic
(count parts a microsecond, a token costs window parts), and the microseconds until it has a token, 0 or less if it has
one. A bucket whose time lies ahead is full: the clock has stepped back, and how long ago that was nobody knows.
]]
local function wait_for_token(level, count, window)
  return math.ceil((window - level) / count)
end

local function bucket_level(bucket, count, window, now)
  local kept = redis.call('HMGET', bucket, 'level', 'at')
  local full = count * window
  local level = full
  if kept[1] and tonumber(kept[2]) <= now then
    level = math.min(full, tonumber(kept[1]) + (now - tonumber(kept[2])) * count)
  end
  return level, wait_for_token(level, count, window)
end
