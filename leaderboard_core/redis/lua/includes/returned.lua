--[[
What was given back got a time of its own, and is compared by the time at which it was written: `text` says both of a
card or of a deletion, `at` is the time that it has now. The other two functions read and write the times of a player's
entries as a text, a line for each: field, time given, time and `base_at` as written.
]]
local function written_at(text, at)
  local written, given = string.match(text or '', '^(%d+) (%d+)$')
  return given == at and written or at
end

local function read_times(text)
  local times = {}
  for field, given_at, clock, base_at in string.gmatch(text or '', '(%S+) (%d+) (%d+) (%d+)') do
    times[field] = {given_at = given_at, clock = clock, base_at = base_at}
  end
  return times
end

local function write_times(times)
  local lines = {}
  for field, known in pairs(times) do
    lines[#lines + 1] = table.concat({field, known.given_at, known.clock, known.base_at}, ' ')
  end
  return table.concat(lines, '\n')
end
