#!lua flags=allow-oom
--[[
Give the entries of an event back that Postgres refused, as return_events does with its score: what this Redis has lost
comes into the hash, onto the sets and into the queue, unless the player was deleted later. Each entry is merged with
what is here by the time at which it was written. Where that changes what is here, the result gets a time of its own: a
rebuild that asks for the latest rows only has to find it among them. A `base_at` that hides what Postgres may have under
such a time moves along. The player's hash keeps in `returned_entries` which time and `base_at` the state was written
with, for an event that was written before or after that and comes back later.

A player of whom nothing is known, here or in Postgres, has lost its card, which may come back later than its entries: it
gets one with 0, as with the first entry of a new player, and `returned` says that any other one is newer.

KEYS  1 queue   2 region's board   3 GLOBAL board   4 player's hash   5 tombstone   6 when that was given back
      7 player's entries
      then for each entry: 1 set of the region   2 GLOBAL set (1 and 2 may be the same)
ARGV  1 user_id   2 region   3 name   4 request_id   5 timestamp of the event
      then a text per entry, in the order of the keys: its field and its state, with a NUL between them
Result number of entries that came back
]]
--@include merge_entry
--@include place_member
--@include place_entry
--@include entry_event
--@include returned
local call, format = redis.call, string.format
local user_id, timestamp = ARGV[1], tonumber(ARGV[5])
local time = call('TIME')
local now = time[1] * 1000000 + time[2]
local player = call('HMGET', KEYS[4], 'region', 'updated_at', 'since', 'clock', 'returned_entries')
local deleted_at = player[3] or call('GET', KEYS[5]) or '0'
local deleted = deleted_at ~= '0' and written_at(call('GET', KEYS[6]), deleted_at) or '0'
if timestamp <= tonumber(deleted) then
  return 0
end

local given = {}
for i = 6, #ARGV do
  local field, state = string.match(ARGV[i], '^(%Z+)%z(%Z+)$')
  given[#given + 1] = {field = field, state = state}
end
local function push(entry, state, stamp)
  call('LPUSH', KEYS[1], entry_event(user_id, ARGV[2], ARGV[3], ARGV[4], entry.field, state, stamp))
end

if (player[1] and player[1] ~= ARGV[2]) or (not player[1] and call('ZSCORE', KEYS[3], user_id)) then
  -- Another region's, or one whose hash is still to be repaired: Postgres gets them, and whoever compares tells.
  for _, entry in ipairs(given) do
    push(entry, entry.state, ARGV[5])
  end
  return #given
end
local stamp = format('%.0f', math.max(now, tonumber(player[4] or player[2] or deleted_at) + 1, timestamp + 1))
if not player[1] then
  call('HSET', KEYS[4], 'name', ARGV[3], 'region', ARGV[2], 'score', '0', 'updated_at', stamp, 'returned', '0 ' .. stamp)
  if deleted_at ~= '0' then
    call('HSET', KEYS[4], 'since', deleted_at)
  end
  call('ZADD', KEYS[2], '0', user_id)
  if KEYS[3] ~= KEYS[2] then
    call('ZADD', KEYS[3], '0', user_id)
  end
  call('LPUSH', KEYS[1],
    '{"user_id":' .. cjson.encode(user_id) .. ',"name":' .. cjson.encode(ARGV[3])
    .. ',"region":' .. cjson.encode(ARGV[2]) .. ',"score":0,"timestamp":' .. stamp
    .. ',"request_id":' .. cjson.encode(ARGV[4]) .. '}')
end

local times = read_times(player[5])

local function with_times(entry, clock, base_at)
  return table.concat({entry.key, entry.tie, clock, entry.submits, base_at, entry.best}, ' ') .. entry.more
end

local function later(one, other)
  return tonumber(one) > tonumber(other) and one or other
end

local returned, moved = 0, false
for i, entry in ipairs(given) do
  local kept = call('HGET', KEYS[7], entry.field)
  local here, known, before = kept and read_entry(kept), times[entry.field], kept
  if known and not (here and here.clock == known.given_at) then
    known = nil
  end
  if known then
    before = with_times(here, known.clock, known.base_at)
  end
  local merged = merge_entry(before, entry.state)
  if merged ~= before then
    local state = read_entry(merged)
    local hides = state.base_at == state.clock or (known and tonumber(state.base_at) > tonumber(known.clock))
    local base_at = hides and stamp or state.base_at
    if here then
      base_at = later(base_at, here.base_at)
    end
    if deleted ~= deleted_at then
      base_at = later(base_at, deleted_at) -- states of the predecessor have got times up to that
    end
    local after = with_times(state, stamp, base_at)
    call('HSET', KEYS[7], entry.field, after)
    place_entry(KEYS[2 * i + 6], KEYS[2 * i + 7], user_id, kept, after)
    push(entry, after, stamp)
    times[entry.field] = {given_at = stamp, clock = state.clock, base_at = state.base_at}
    returned, moved = returned + 1, true
  elseif not known and here.clock == read_entry(entry.state).clock then
    -- This Redis has lost the event and nothing else.
    push(entry, merged, ARGV[5])
    returned = returned + 1
  end
end
if moved then
  call('HSET', KEYS[4], 'clock', stamp, 'returned_entries', write_times(times))
end
return returned
