-- GET /rank/{id}, each request for another player.
local common = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "common.lua")

function init(args)
  for number, id in ipairs(common.lines(args[1], "players.txt")) do
    common.requests[number] = common.get("/rank/" .. id .. "?region=GLOBAL")
  end
end
