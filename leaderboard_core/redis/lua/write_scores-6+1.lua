--[[
Several score writes of one region, one after the other in the order given; each is accepted or refused on its own,
exactly as write_score would.

KEYS  1 admission   2 region's board   3 GLOBAL board   4 queue   5 region's bucket   6 player's bucket (any key of this shard
      where the writes are a server's)
      then for each board: 1 its definition   2 its set of the region   3 and of GLOBAL (may be the same)
      then for each write: 1 player's hash   2 idempotency answer   3 registration claim   4 player's entries
ARGV  1 region
      2 queue length at which writes are refused
      3 region's bucket: tokens per second ('0' ignores it)
      4 seconds to keep the answers for Idempotency-Keys ('0' when there are none)
      5 fingerprint of the request, to tell a reused key
      6 from when to when claims held elsewhere hold, in microseconds of this Redis ('0' when there can be none)
      7 prefix of the tombstones
      8 player's bucket: tokens ('0' ignores it)   9 and its window in microseconds
     10 microseconds at which the player's token was issued ('' when it is a server's)
     11 may a missing player be made: '1' | '0'   12 number of boards
      then for each board:
      1 rules, as write_score has them   2 definition that they are of   3 `<board>.<id>:<window>`, '' for main
      then for each write:
      1 number of its board   2 operation: set | add | force   3 user_id   4 name ('' keeps the stored one)
      5 score, or delta for add   6 start of the event's JSON, without the closing brace
      7 hash of the subject and its Idempotency-Key ('' when there is none)   8 metadata as JSON, '' for none
Result a result of write_score for each write, in their order; {'stale_definition', number, ...} of the boards of which
       another definition stands on this shard
]]
--@acknowledged
--@include admitted
--@include token_bucket
--@include place_entry
--@include change_entry
--@include write_score
local boards, stale = {}, {'stale_definition'}
for n = 1, tonumber(ARGV[12]) do
  local key, arg = 3 * n + 4, 3 * n + 10
  boards[n] = {region_set = KEYS[key + 1], global_set = KEYS[key + 2], rules = ARGV[arg], field = ARGV[arg + 2]}
  local definition, id = redis.call('GET', KEYS[key]) or '0 0', string.match(ARGV[arg + 2], '%.(%d+):') or '0'
  if definition ~= ARGV[arg + 1] or string.match(definition, '^%d+') ~= id then
    stale[#stale + 1] = string.format('%d', n)
  end
end
if #stale > 1 then
  return stale
end
local keys = {KEYS[1], '', KEYS[2], KEYS[3], KEYS[4], KEYS[6], KEYS[5], '', ''}
local args = {
  '', '', ARGV[1], '', '', '', ARGV[2], ARGV[8], ARGV[9], ARGV[3], ARGV[4], ARGV[5], ARGV[11], '', ARGV[6], '0', ARGV[7],
  ARGV[10], '', 'server', '',
}
local results = {}
local key, arg, n = 7 + 3 * #boards, 13 + 3 * #boards, 1
while KEYS[key] do
  local board, entry = boards[tonumber(ARGV[arg])], nil
  keys[2], keys[8], keys[9] = KEYS[key], KEYS[key + 1], KEYS[key + 2]
  args[1], args[2], args[4], args[5], args[6] = ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4], ARGV[arg + 5]
  args[19], args[21] = ARGV[arg + 6], board.rules
  if board.field ~= '' then
    entry = entry_of(KEYS[key + 3], board.region_set, board.global_set, board.field, board.rules, ARGV[arg + 7])
  end
  results[n] = write_score(keys, args, entry, ARGV[arg + 7])
  key, arg, n = key + 4, arg + 8, n + 1
end
return results
