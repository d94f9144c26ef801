-- POST /score/add, each request by another player.
local common = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "common.lua")

function init(args)
  for number, line in ipairs(common.lines(args[1], "tokens.txt")) do
    common.requests[number] = common.post("/score/add", line, '{"delta": ' .. number % 100 + 1 .. "}")
  end
end
