#!lua flags=allow-oom
--[[
Reconcile entries of a player who is here with what Postgres has of them, by the rule of merge_entry: hash, sets and,
through the queue, row. What was read from Postgres may be old by now: it is merged in this one step. A state that goes to
Postgres gets a time of its own. The player's clock is never behind its entries.

KEYS  1 player's hash   2 player's entries   3 queue
      then for each entry: 1 set of the region   2 GLOBAL set (1 and 2 may be the same)
ARGV  1 user_id   2 region   3 request_id for the events
      then a text per entry, in the order of the keys: its field, and its state in Postgres ('-' for none), with a NUL between
Result 'from_redis' (what Postgres lacks is on its way there) | 'from_postgres' | 'elsewhere' (the player is not here)
]]
--@include merge_entry
--@include place_member
--@include place_entry
--@include entry_event
local call, format = redis.call, string.format
local player = call('HMGET', KEYS[1], 'region', 'updated_at', 'name', 'clock')
if player[1] ~= ARGV[2] then
  return 'elsewhere'
end
local time = call('TIME')
local before = tonumber(player[4] or player[2])
local stamp = format('%.0f', math.max(time[1] * 1000000 + time[2], before + 1))
local outcome, clock = 'from_postgres', before
for i = 4, #ARGV do
  local field, given = string.match(ARGV[i], '^(%Z+)%z(%Z+)$')
  local kept = call('HGET', KEYS[2], field) or nil
  local merged = given ~= '-' and merge_entry(kept, given) or kept
  if merged then
    if merged ~= given then
      local state = read_entry(merged)
      merged = table.concat({state.key, state.tie, stamp, state.submits, state.base_at, state.best}, ' ') .. state.more
      call('LPUSH', KEYS[3], entry_event(ARGV[1], ARGV[2], player[3], ARGV[3], field, merged, stamp))
      outcome = 'from_redis'
    end
    if merged ~= kept then
      call('HSET', KEYS[2], field, merged)
    end
    place_entry(KEYS[2 * i - 4], KEYS[2 * i - 3], ARGV[1], kept, merged)
    clock = math.max(clock, tonumber(read_entry(merged).clock))
  end
end
if clock > before then
  call('HSET', KEYS[1], 'clock', format('%.0f', clock))
end
return outcome
