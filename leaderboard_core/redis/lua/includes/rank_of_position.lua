--[[
Count the rows of a board before a position in board order, by bisection of the rows of that score: those of a higher
score, and of the same score those whose user_id is not smaller. Lua's own comparison of strings follows the server's
locale; a board is ordered by bytes.
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

local function rank_of_position(board, score, user_id)
  local low = redis.call('ZCOUNT', board, '(' .. score, '+inf')
  local high = redis.call('ZCOUNT', board, score, '+inf')
  while low < high do
    local middle = math.floor((low + high) / 2)
    if compare_bytes(user_id, redis.call('ZREVRANGE', board, middle, middle)[1]) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end
