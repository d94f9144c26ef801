--[[
Several score writes of one region, one after the other in the order given; each is accepted or refused on
its own, exactly as write_score would. The players' buckets are ignored.

KEYS  1 admission   2 region's board   3 GLOBAL board   4 queue   5 region's bucket   6 the board's definition
      then for each write:
      1 player's hash   2 idempotency answer   3 registration claim
ARGV  1 region
      2 queue length at which writes are refused
      3 region's bucket: tokens per second ('0' ignores it)
      4 seconds to keep the answers for Idempotency-Keys ('0' when there are none)
      5 fingerprint of the request, to tell a reused key
      6 from when to when claims held elsewhere hold, in microseconds of this Redis ('0' when there can be none)
      7 prefix of the tombstones   8 rules of the board, '' for none, as write_score has them   9 definition that they are of
      then for each write:
      1 operation: set | add; a missing player is made   2 user_id   3 name ('' keeps the stored one)
      4 score, or delta for add   5 start of the event's JSON, without the closing brace
      6 hash of the subject and its Idempotency-Key ('' when there is none)
Result a result of write_score for each write, in their order; {'stale_definition'} when another one stands on this shard
]]
--@acknowledged
local BOARD = KEYS[6]
--@include admitted_as_defined
--@include token_bucket
--@include write_score
if DEFINITION ~= ARGV[9] then
  return {'stale_definition'}
end
local keys = {KEYS[1], '', KEYS[2], KEYS[3], KEYS[4], '', KEYS[5], '', ''}
local args = {
  '', '', ARGV[1], '', '', '', ARGV[2], '0', '0', ARGV[3], ARGV[4], ARGV[5], '1', '', ARGV[6], '0', ARGV[7], '', '',
  'server', ARGV[8],
}
local results = {}
for n = 1, (#KEYS - 6) / 3 do
  local key, arg = 6 + 3 * (n - 1), 9 + 6 * (n - 1)
  keys[2], keys[8], keys[9] = KEYS[key + 1], KEYS[key + 2], KEYS[key + 3]
  args[1], args[2], args[4], args[5], args[6] = ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4], ARGV[arg + 5]
  args[19] = ARGV[arg + 6]
  results[n] = write_score(keys, args)
end
return results
