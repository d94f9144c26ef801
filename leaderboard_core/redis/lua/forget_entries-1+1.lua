#!lua flags=allow-oom
--[[
Take members of a player off sets of boards.

KEYS  1 player's entries
      then for each member its set
ARGV  1 user_id
      then a text per member, in the order of the sets: the field of its entry, the member ('' for what the entry says), and
      'stray' (it stays where the entry says so), 'misplaced' (it goes in any case) or 'gone' (the entry goes as well), with
      NULs between
Result number of members taken off
]]
local taken, gone = 0, {}
for i = 2, #ARGV do
  local field, member, how = string.match(ARGV[i], '^(%Z+)%z(%Z*)%z(%Z+)$')
  local key, tie = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%S+) (%S+) ')
  local own = tie and (tie == '-' and '' or tie) .. ARGV[1]
  if member == '' then
    member = own
  end
  if member and not (how == 'stray' and key ~= '-' and member == own) then
    taken = taken + redis.call('ZREM', KEYS[i], member)
  end
  if how == 'gone' then
    gone[#gone + 1] = field
  end
end
for _, field in ipairs(gone) do
  redis.call('HDEL', KEYS[1], field)
end
return taken
