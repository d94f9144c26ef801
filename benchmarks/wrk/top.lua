-- GET /top?limit=100 of the GLOBAL board.
local common = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "common.lua")

function init()
  common.requests[1] = common.get("/top?limit=100&region=GLOBAL")
end
