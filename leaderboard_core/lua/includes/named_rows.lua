--[[
Puts rows of a board, as ZREVRANGE ... WITHSCORES gave them, behind what is in an answer: user_id, score, and from the
players' hashes name and region.
]]
local function add_named(answer, rows, prefix)
  local n = #answer
  for i = 1, #rows, 2 do
    local user = redis.call('HMGET', prefix .. rows[i], 'name', 'region')
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = rows[i], rows[i + 1], user[1] or '', user[2] or ''
    n = n + 4
  end
  return answer
end
