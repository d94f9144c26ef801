--[[
The member of a player in a set: the user_id, or, where ties go to the earliest, what the player's entry says; nil when
it has none. `field` names the entry in the hash of the player's entries, whose names begin with `prefix`; '' where the
member is the user_id. Its key comes behind it where the entry was read, which says both.
]]
local function member_of(prefix, field, user_id)
  if field == '' then
    return user_id
  end
  local key, tie = string.match(redis.call('HGET', prefix .. user_id, field) or '', '^(%-?%d+) (%d+) ')
  return tie and tie .. user_id, key
end
