--[[
Rows of a board from one index to another, best first: a list of user_id, score, and a list of name, region from the
players' hashes (nil where there is no hash). One SORT_RO that sorts nothing asks for all hashes: a call for each of them
costs a quarter more.
]]
local function named_rows(board, first, last, prefix)
  local rows = redis.call('ZREVRANGE', board, first, last, 'WITHSCORES')
  if #rows == 0 then
    return rows, rows
  end
  return rows, redis.call('SORT_RO', board, 'BY', 'nosort', 'LIMIT', first, #rows / 2,
    'GET', prefix .. '*->name', 'GET', prefix .. '*->region', 'DESC')
end
