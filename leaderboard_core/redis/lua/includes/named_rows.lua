--[[
Rows of a board from one index to another, best first: a list of member, key, and a list of what the players' hashes say:
name, region, or the name alone where `homes` is false ('' where there is no hash). `digits` is how many characters of a
member are not the user_id's. Scripts return such lists as one text, with NUL, which is in no value, between the values:
each string of an answer costs the server and the client more than the others' bytes do. Behind them comes how many on
the board have a strictly greater key than the first row (0 without rows); where ties go to the earliest, so that no two
ranks are equal, how many stand before it.
One SORT_RO that sorts nothing asks for all hashes: a call for each of them costs a third more for the script as a
whole. Whom it gives no name is asked for by a call after all, which tells a hash that is not there (nil) from one whose
slot is being moved to another node of a cluster (an error); and so is everybody where SORT_RO takes no names, as on
Redis before 8 in a cluster, or cannot name the hashes, because members are more than user_ids.
]]
local function named_rows(board, first, last, prefix, digits, homes)
  local rows = redis.call('ZREVRANGE', board, first, last, 'WITHSCORES')
  if #rows == 0 then
    return rows, rows, 0
  end
  local named, above = {}, first
  if digits == 0 then
    if first > 0 then
      above = redis.call('ZCOUNT', board, '(' .. rows[2], '+inf')
    end
    local home = homes and {'GET', prefix .. '*->region'} or {}
    named = redis.pcall('SORT_RO', board, 'BY', 'nosort', 'DESC', 'LIMIT', first, #rows / 2,
      'GET', prefix .. '*->name', unpack(home))
    if named.err then
      named = {}
    end
  end
  local call, sub, first_of_id = redis.call, string.sub, digits + 1 -- looked up once, not for each row
  if not homes then
    for i = 1, #rows / 2 do
      named[i] = named[i] or call('HGET', prefix .. sub(rows[2 * i - 1], first_of_id), 'name') or ''
    end
    return rows, named, above
  end
  for i = 1, #rows, 2 do
    if not named[i] or not named[i + 1] then
      local user = call('HMGET', prefix .. sub(rows[i], first_of_id), 'name', 'region')
      named[i], named[i + 1] = user[1] or '', user[2] or ''
    end
  end
  return rows, named, above
end
