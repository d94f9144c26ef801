-- The calls of calls.txt, a line each: method, path and body, with tabs between them; all with a server's token.
local common = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "common.lua")

function init(args)
  local token = common.lines(args[1], "server_token.txt")[1]
  local headers = { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }
  for number, line in ipairs(common.lines(args[1], "calls.txt")) do
    local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
    common.requests[number] = wrk.format(method, path, headers, body ~= "" and body or nil)
  end
end
