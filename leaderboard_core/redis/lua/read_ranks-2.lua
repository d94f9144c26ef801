--[[
The places of several players on this shard's part of a board; who is not on it is left out.

KEYS  1 admission   2 board
ARGV  1 prefix of the players' hashes   then user_ids, none where no player of a list can be here
Result {'ok', total, user_id, score, above, name, region, user_id, ...}
       above = players here with a strictly higher score
]]
--@include admitted
local answer = {'ok', string.format('%.0f', redis.call('ZCARD', KEYS[2]))}
local scores = #ARGV > 1 and redis.call('ZMSCORE', KEYS[2], unpack(ARGV, 2)) or {}
local above, n = {}, 2
for i, score in ipairs(scores) do
  if score then
    if not above[score] then
      above[score] = string.format('%.0f', redis.call('ZCOUNT', KEYS[2], '(' .. score, '+inf'))
    end
    local user = redis.call('HMGET', ARGV[1] .. ARGV[i + 1], 'name', 'region')
    answer[n + 1], answer[n + 2], answer[n + 3] = ARGV[i + 1], score, above[score]
    answer[n + 4], answer[n + 5] = user[1] or '', user[2] or ''
    n = n + 5
  end
end
return answer
