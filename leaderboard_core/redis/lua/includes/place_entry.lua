--[[
Put an entry onto the sets of its region and of GLOBAL as it is now, and take off what stood there before. `before` and
`after` are texts as merge_entry has them; `before` may be nil.
]]
local function place_entry(region_set, global_set, user_id, before, after)
  local function place(text)
    local key, tie = string.match(text, '^(%S+) (%S+) ')
    return key, (tie == '-' and '' or tie) .. user_id
  end
  local key, member = place(after)
  if before then
    local _, stood = place(before)
    if stood ~= member or key == '-' then
      redis.call('ZREM', region_set, stood)
      redis.call('ZREM', global_set, stood)
    end
  end
  if key ~= '-' then
    redis.call('ZADD', region_set, key, member)
    if global_set ~= region_set then
      redis.call('ZADD', global_set, key, member)
    end
  end
end
