--[[
Take an entry off the sets of its region and of GLOBAL, and out of the hash of its player's entries.
]]
local function take_entry(entries, field, region_set, global_set, user_id)
  local tie = string.match(redis.call('HGET', entries, field) or '', '^%S+ (%S+) ')
  if tie then
    local member = (tie == '-' and '' or tie) .. user_id
    redis.call('ZREM', region_set, member)
    redis.call('ZREM', global_set, member)
    redis.call('HDEL', entries, field)
  end
end
