--[[
Read players as this Redis has them, for a comparison with Postgres.

KEYS  1 region's board   2 GLOBAL board
ARGV  1 prefix of the players' hashes   then user_ids
Result for each: region, name, score, updated_at of the hash, score on the region's board, score on
       GLOBAL, protected, since, credential, submits, metadata; '' where there is none
]]
local answer = {}
for i = 2, #ARGV do
  local user = redis.call('HMGET', ARGV[1] .. ARGV[i], 'region', 'name', 'score', 'updated_at', 'protected', 'since', 'credential', 'submits', 'metadata')
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = user[1] or '', user[2] or '', user[3] or ''
  answer[n + 4] = user[4] or ''
  answer[n + 5] = redis.call('ZSCORE', KEYS[1], ARGV[i]) or ''
  answer[n + 6] = redis.call('ZSCORE', KEYS[2], ARGV[i]) or ''
  answer[n + 7], answer[n + 8], answer[n + 9] = user[5] or '', user[6] or '', user[7] or ''
  answer[n + 10], answer[n + 11] = user[8] or '', user[9] or ''
end
return answer
