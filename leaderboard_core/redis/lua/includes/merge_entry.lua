--[[
Of two states of an entry the one that stands, by the rule of leaderboard_core/entries.py. States are texts as the hash
of a player's entries has them: key ('-' of one that was removed), the digits before the user_id in the member ('-' for
none), clock, submits, base_at, best '1' | '0', and each after a blank, if there is one, '@' with what tells a repeat of
its write, and its metadata. `kept` may be nil.
]]
local function read_entry(text)
  local key, tie, clock, submits, base_at, best, more = string.match(text, '^(%S+) (%S+) (%d+) (%d+) (%d+) ([01])(.*)$')
  return {key = key, tie = tie, clock = clock, submits = submits, base_at = base_at, best = best, more = more}
end

local function stands_before(one, other, base)
  local counts, other_counts = tonumber(one.clock) >= base, tonumber(other.clock) >= base
  if counts ~= other_counts then
    return counts
  elseif (one.key == '-') ~= (other.key == '-') then
    return other.key == '-'
  elseif one.key ~= '-' and one.best == '1' and other.best == '1' then
    -- Numbers: a comparison of texts goes by the locale of the server.
    local key, other_key = tonumber(one.key), tonumber(other.key)
    local tie, other_tie = tonumber(one.tie) or -1, tonumber(other.tie) or -1
    if key ~= other_key then
      return key > other_key
    elseif tie ~= other_tie then
      return tie > other_tie
    end
  end
  return tonumber(one.clock) > tonumber(other.clock)
end

local function merge_entry(kept, given)
  if not kept then
    return given
  end
  local one, other = read_entry(kept), read_entry(given)
  local base_at = tonumber(one.base_at) > tonumber(other.base_at) and one.base_at or other.base_at
  local submits = tonumber(one.submits) > tonumber(other.submits) and one.submits or other.submits
  local state = stands_before(other, one, tonumber(base_at)) and other or one
  return table.concat({state.key, state.tie, state.clock, submits, base_at, state.best}, ' ') .. state.more
end
