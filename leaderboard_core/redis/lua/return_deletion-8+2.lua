#!lua flags=allow-oom
--[[
Give the deletion of a player back that Postgres refused, as return_events does with what was written: what this Redis
has of the player from before it goes, the entries too, and it comes into the queue. What stays was written later.

Older states may have been given back first, with times of their own, under which they are in the queue or in Postgres.
The deletion gets a time after the latest of these, and KEYS 7 says when it was done; what stays and is not later than
that is written again. Where the card goes and entries stay, the player has lost the card of after: it gets one with 0.

KEYS  1 queue   2 region's board   3 GLOBAL board   4 whether there are tombstones   5 player's hash   6 tombstone
      7 when that was given back   8 player's entries
      then for each entry: 1 set of the region   2 GLOBAL set
ARGV  1 user_id   2 region   3 microseconds of the deletion   4 seconds for which KEYS 7 is kept
      5 'part' (take the entries, and no more) | 'last'   6 the event, JSON   7 its request_id
      then for each entry its field
Result 1, or 0 after a part; -1 when others of the player's entries are from before the deletion as well
]]
--@include merge_entry
--@include take_entry
--@include entry_event
--@include returned
--@include card_event
local call, format = redis.call, string.format
local user_id, deleted = ARGV[1], tonumber(ARGV[3])
local player = call('HMGET', KEYS[5], 'region', 'updated_at', 'since', 'clock', 'returned', 'returned_entries', 'name', 'merged')
local here = player[1] and true or false
local deleted_at = player[3] or call('GET', KEYS[6]) or '0'
local before = deleted_at ~= '0' and written_at(call('GET', KEYS[7]), deleted_at) or '0'
if (here and player[1] ~= ARGV[2]) or deleted < tonumber(before) then
  -- Another region's, or deleted once more since: Postgres takes it as it is.
  if ARGV[5] == 'last' then
    call('LPUSH', KEYS[1], ARGV[6])
  end
  return ARGV[5] == 'last' and 1 or 0
end

local times, given = read_times(player[6]), {}
for i = 8, #ARGV do
  given[ARGV[i]] = 2 * i - 7
end
local event = ARGV[6]
local gone, left, at = {}, {}, math.max(deleted, tonumber(deleted_at), tonumber(string.match(event, '"timestamp":%s*(%d+)')))
-- Later than what it takes, not as late: what was written at a `base_at` counts.
local function takes(time)
  at = math.max(at, tonumber(time) + 1)
end
for _, field in ipairs(call('HKEYS', KEYS[8])) do
  local state = read_entry(call('HGET', KEYS[8], field))
  local known = times[field]
  if known and known.given_at ~= state.clock then
    known = nil
  end
  if here and tonumber(known and known.clock or state.clock) > deleted then
    left[#left + 1] = {field = field, state = state, known = known}
  elseif given[field] then
    gone[#gone + 1] = field
    takes(state.clock)
  elseif ARGV[5] == 'last' then
    return -1
  end
end
for _, field in ipairs(gone) do
  take_entry(KEYS[8], field, KEYS[given[field]], KEYS[given[field] + 1], user_id)
end
if ARGV[5] == 'part' then
  return 0
end
for field, known in pairs(times) do
  if tonumber(known.clock) <= deleted then
    takes(known.given_at) -- a part may have taken it
    times[field] = nil
  end
end
local card_goes = here and tonumber(written_at(player[5], player[2])) <= deleted
if card_goes then
  takes(player[2])
end

local time = call('TIME')
local last = tonumber(player[4] or player[2] or '0')
local stamp = format('%.0f', math.max(time[1] * 1000000 + time[2], last + 1, at + 1))
at = format('%.0f', at)
if tonumber(at) > deleted then
  call('SET', KEYS[7], ARGV[3] .. ' ' .. at, 'EX', ARGV[4])
  event = string.gsub(event, '("timestamp":%s*)%d+', '%1' .. at, 1)
  if not string.find(event, '"written":', 1, true) then
    event = string.gsub(event, '}%s*$', ',"written":' .. ARGV[3] .. '}')
  end
end
call('LPUSH', KEYS[1], event)

if not here or (card_goes and #left == 0) then
  if here then
    call('ZREM', KEYS[2], user_id)
    call('ZREM', KEYS[3], user_id)
    call('DEL', KEYS[5])
  end
  call('SET', KEYS[6], at)
  call('SET', KEYS[4], '1')
  return 1
end

local function write_card(...)
  call('HSET', KEYS[5], 'updated_at', stamp, ...)
  call('HDEL', KEYS[5], 'clock')
  call('LPUSH', KEYS[1], card_event(KEYS[5], user_id, ARGV[2], ARGV[7]))
end

local wrote_card = false
if card_goes then
  call('DEL', KEYS[5])
  call('ZADD', KEYS[2], '0', user_id)
  if KEYS[3] ~= KEYS[2] then
    call('ZADD', KEYS[3], '0', user_id)
  end
  write_card('name', player[7], 'region', ARGV[2], 'score', '0', 'returned', '0 ' .. stamp)
  wrote_card = true
else
  -- What a predecessor's event has brought into the card of this player.
  local merged_at, protected, credential_at, credential = string.match(player[8] or '', '^(%d+) ([01]) (%d+) (.*)$')
  local written = written_at(player[5], player[2])
  local is_predecessors = merged_at and tonumber(merged_at) <= deleted
  -- A later write of the card keeps the secret, unless it gives a newer one; a password may be one of this player.
  local undone = is_predecessors and tonumber(call('HGET', KEYS[5], 'credential_at') or '0') <= deleted
  if is_predecessors and written ~= player[2] then
    call('HDEL', KEYS[5], 'protected')
    if protected == '1' then
      call('HSET', KEYS[5], 'protected', '1')
    end
    undone = true
  end
  if undone then
    call('HDEL', KEYS[5], 'merged', 'credential', 'credential_at')
    if credential ~= '' then
      call('HSET', KEYS[5], 'credential', credential)
    end
    if credential_at ~= '0' then
      call('HSET', KEYS[5], 'credential_at', credential_at)
    end
  end
  if undone or tonumber(player[2]) <= tonumber(at) then
    local key = call('HGET', KEYS[5], 'key')
    if key then
      call('HSET', KEYS[5], 'key', (string.gsub(key, '%d+$', stamp)))
    end
    write_card('returned', written .. ' ' .. stamp)
    wrote_card = true
  end
end
call('HSET', KEYS[5], 'since', at)

local moved = false
for _, entry in ipairs(left) do
  local state = entry.state
  if tonumber(state.clock) <= tonumber(at) then
    local base_at = tonumber(state.base_at) > tonumber(at) and state.base_at or at
    local after = table.concat({state.key, state.tie, stamp, state.submits, base_at, state.best}, ' ') .. state.more
    call('HSET', KEYS[8], entry.field, after)
    call('LPUSH', KEYS[1], entry_event(user_id, ARGV[2], player[7], ARGV[7], entry.field, after, stamp))
    local known = entry.known or state
    times[entry.field] = {given_at = stamp, clock = known.clock, base_at = known.base_at}
    moved = true
  end
end
if next(times) then
  call('HSET', KEYS[5], 'returned_entries', write_times(times))
else
  call('HDEL', KEYS[5], 'returned_entries')
end
if moved and not wrote_card then
  call('HSET', KEYS[5], 'clock', stamp)
elseif wrote_card and player[4] and tonumber(player[4]) > tonumber(stamp) then
  call('HSET', KEYS[5], 'clock', player[4])
end
return 1
