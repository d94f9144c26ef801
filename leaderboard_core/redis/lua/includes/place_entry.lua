--[[
Put an entry onto the sets of its region and of GLOBAL as it is now, and take off what stood there before. `before` and
`after` are texts as merge_entry has them; `before` may be nil. Needs place_member.
]]
local function place_entry(region_set, global_set, user_id, before, after)
  local function place(text)
    local key, tie = string.match(text, '^(%S+) (%S+) ')
    return key, (tie == '-' and '' or tie) .. user_id
  end
  local key, member = place(after)
  local _, stood
  if before then
    _, stood = place(before)
  end
  place_member(region_set, global_set, key, member, stood)
end
