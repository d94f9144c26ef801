--[[
Find players of one part of this Redis by user_id, as find_user does, with what a row of each has to carry on.

KEYS  1 admission   2 GLOBAL board
      then for each player: 1 its hash   2 tombstone
ARGV  1 prefix of the players' hashes
Result for each: region ('' when there is none, '-' when it is on the board without a hash), deleted_at and updated_at in
       microseconds ('0' if that is unknown), name, protected '1' | '0', credential ('' if none), score, submits ('0' for
       none), metadata ('' for none)
]]
--@include admitted
local answer = {}
for i = 3, #KEYS, 2 do
  local user = redis.call('HMGET', KEYS[i], 'region', 'since', 'updated_at', 'name', 'protected', 'credential', 'score',
    'submits', 'metadata')
  local n = #answer
  answer[n + 1], answer[n + 2] = user[1] or '', user[2] or '0'
  if not user[1] then
    if redis.call('ZSCORE', KEYS[2], string.sub(KEYS[i], #ARGV[1] + 1)) then
      answer[n + 1] = '-'
    end
    answer[n + 2] = redis.call('GET', KEYS[i + 1]) or '0'
  end
  answer[n + 3], answer[n + 4] = user[3] or '0', user[4] or ''
  answer[n + 5], answer[n + 6] = user[5] or '0', user[6] or ''
  answer[n + 7], answer[n + 8], answer[n + 9] = user[7] or '0', user[8] or '0', user[9] or ''
end
return answer
