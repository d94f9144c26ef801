--[[
Count the rows of a board at and before a point in board order, and those with a greater key, by bisection of the rows
of that key: those whose member is not smaller. An empty member is behind all of them. Lua's own comparison of
strings follows the server's locale; a board is ordered by bytes.
]]
local function compare_bytes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

local function rows_before(board, key, member)
  local above = redis.call('ZCOUNT', board, '(' .. key, '+inf')
  local low, high = above, redis.call('ZCOUNT', board, key, '+inf')
  if member == '' then
    return high, above
  end
  while low < high do
    local middle = math.floor((low + high) / 2)
    if compare_bytes(member, redis.call('ZREVRANGE', board, middle, middle)[1]) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low, above
end
