--[[
Read the entries of players as this Redis has them, for a comparison with Postgres.

KEYS  none: all keys are the caller's, and read only
ARGV  1 prefix of the players' hashes   2 prefix of their entries
      3 set of a board's window in a region: its name with '\1' in the place of the entry's field and '\2' in that of the region
      4 region GLOBAL   then user_ids
Result for each: {region of the hash or '', then for each entry: field, state, key in its set of that region, key in that of
       GLOBAL; '' where there is none}
]]
local answer = {}
for i = 5, #ARGV do
  local user_id = ARGV[i]
  local region = redis.call('HGET', ARGV[1] .. user_id, 'region') or ''
  local found, fields = {region}, redis.call('HKEYS', ARGV[2] .. user_id)
  for _, field in ipairs(fields) do
    local state = redis.call('HGET', ARGV[2] .. user_id, field)
    local tie = string.match(state, '^%S+ (%S+) ')
    local member = ((tie or '-') == '-' and '' or tie) .. user_id
    local n = #found
    found[n + 1], found[n + 2] = field, state
    for at, place in ipairs({region, ARGV[4]}) do
      local set = string.gsub(string.gsub(ARGV[3], '\1', field), '\2', place)
      found[n + 2 + at] = redis.call('ZSCORE', set, member) or ''
    end
  end
  answer[#answer + 1] = found
end
return answer
