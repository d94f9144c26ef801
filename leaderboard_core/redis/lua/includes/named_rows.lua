--[[
Rows of a board from one index to another, best first: a list of user_id, score, and a list of name, region from the
players' hashes (nil where there is no hash). One SORT_RO that sorts nothing asks for all hashes: a call for each of them
costs half as much again for the script as a whole. Whom it gives no name is asked for by a call after all, which tells a
hash that is not there (nil) from one whose slot is being moved to another node of a cluster (an error); and so is
everybody where SORT_RO takes no names, as on Redis before 8 in a cluster.
]]
local function named_rows(board, first, last, prefix)
  local rows = redis.call('ZREVRANGE', board, first, last, 'WITHSCORES')
  if #rows == 0 then
    return rows, rows
  end
  local named = redis.pcall('SORT_RO', board, 'BY', 'nosort', 'LIMIT', first, #rows / 2,
    'GET', prefix .. '*->name', 'GET', prefix .. '*->region', 'DESC')
  if named.err then
    named = {}
  end
  for i = 1, #rows, 2 do
    if not named[i] or not named[i + 1] then
      local user = redis.call('HMGET', prefix .. rows[i], 'name', 'region')
      named[i], named[i + 1] = user[1], user[2]
    end
  end
  return rows, named
end
