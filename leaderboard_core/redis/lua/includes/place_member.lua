--[[
Put a player with a key onto the sets of its region and of GLOBAL, '-' for one that is on neither, and take off the member
that `stood` there before, if there was one.
]]
local function place_member(region_set, global_set, key, member, stood)
  if stood and (stood ~= member or key == '-') then
    redis.call('ZREM', region_set, stood)
    redis.call('ZREM', global_set, stood)
  end
  if key ~= '-' then
    redis.call('ZADD', region_set, key, member)
    if global_set ~= region_set then
      redis.call('ZADD', global_set, key, member)
    end
  end
end
