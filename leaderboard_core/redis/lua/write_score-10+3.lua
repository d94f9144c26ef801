--[[
One score write: every check, the boards, the player's hash and the event, in one atomic step.

KEYS  1 admission           4 GLOBAL board    7 region's bucket
      2 player's hash       5 queue           8 idempotency answer
      3 region's board      6 player's bucket 9 registration claim   10 the board's definition
      then for each board other than main, one at most:
      1 player's entries   2 the board's set of the region   3 and of GLOBAL (may be the same)
ARGV  1 operation: register | create | set | add | force (sets, whatever the bounds) | secret (a new one, the score stays)
        | password (there is one now); on a board other than main set | add | force
      2 user_id   3 region   4 name ('' keeps the stored one)   5 score, or delta for add
      6 start of the event's JSON: user_id, region, request_id, without the closing brace
      7 queue length at which writes are refused
      8 player's bucket: tokens ('0' ignores it)   9 and its window in microseconds
     10 region's bucket: tokens per second ('0' ignores it)
     11 seconds to keep the answer for an Idempotency-Key ('0' when there is none)
     12 may a missing player be made by set or add: '1' | '0' (register and create always may)
     13 from when to when a claim held elsewhere holds, in microseconds of this Redis ('0' when it is held here)
     14 prefix of the tombstones
     15 rules of the board, '' for none: lowest and highest score, largest size of an add (each '-' for any), the code with
        which scores are refused ('-' takes them), operator, sign that makes a key of a score, digits of ties, most submits
        ('0' for any), most bytes of metadata; a player may begin with 0 whatever they are
     16 definition of the board that these rules are of: id and version
      absent from some on, which are as said then:
     17 name of the entry, `<board>.<id>:<window>`, '' on main   18 metadata as JSON, '' for none
     19 microseconds at which the player's token was issued ('' when it is a server's, or there is none)
     20 fingerprint of the request, to tell a reused key, and 21 hash of the subject and its Idempotency-Key ('' when there
        is none)
     22 claim's nonce held by the caller ('' when it holds none)
     23 '1' when the new player has a password, else '0'
     24 credential of a player that is made ('server'); for 'secret' the hash of it
Result a text, with NUL, which is in no value, between its values:
       {'ok' | 'unchanged', region, name, score, updated_at, '1' (the player was made, or its entry) | '0 ' and the score before}
       {'replay', fingerprint, 'ok' | 'unchanged', region, name, score, updated_at, as above, or '0' (what it was is lost)}
       {'refused', code, detail...}; nothing has changed:
         queue_full length | incomplete (on the board without a hash) | rate_limited us | region_rate_limited us | user_exists | claimed
         | user_not_found | region_mismatch region | score_out_of_range | score_out_of_bounds lowest highest | step_out_of_bounds largest
         | no_submits_left most | metadata_too_large most | board_closed | forbidden | claim_lost | invalid_token | stale_definition (another one stands on this shard)
]]
--@acknowledged
local BOARD = KEYS[10]
--@include admitted_as_defined
--@include token_bucket
--@include place_member
--@include change_entry
--@include write_score
local entry = nil
local on_main = (ARGV[17] or '') == ''
if not on_main and DEFINITION == ARGV[16] then
  local board = board_of(KEYS[#KEYS - 1], KEYS[#KEYS], ARGV[17], ARGV[15], DEFINITION)
  entry = board and entry_of(KEYS[#KEYS - 2], board, ARGV[18])
end
if DEFINITION ~= ARGV[16] or not (on_main or entry) then
  return 'refused\0stale_definition'
end
return table.concat(write_score(KEYS, ARGV, entry, ARGV[18]), '\0')
