--[[
Forget with which times an entry was given back to a player, whose hash that is.
]]
local function forget_returned(user_key, field)
  local known = redis.call('HGET', user_key, 'returned_entries')
  if known and string.find(known, field .. ' ', 1, true) then
    local lines = {}
    for line in string.gmatch(known, '[^\n]+') do
      if string.sub(line, 1, #field + 1) ~= field .. ' ' then
        lines[#lines + 1] = line
      end
    end
    if #lines > 0 then
      redis.call('HSET', user_key, 'returned_entries', table.concat(lines, '\n'))
    else
      redis.call('HDEL', user_key, 'returned_entries')
    end
  end
end
