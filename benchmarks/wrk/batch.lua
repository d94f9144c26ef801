-- POST /scores with a server's token; an answer that refuses any of its scores is counted.
local common = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "common.lua")

function init(args)
  local token = common.lines(args[1], "server_token.txt")[1]
  for number, body in ipairs(common.lines(args[1], "batches.txt")) do
    common.requests[number] = common.post("/scores", token, body)
  end
end

refused = 0

function response(status, headers, body)
  if status == 200 and not body:find('"ok":true', 1, true) or body:find('"ok":false', 1, true) then
    refused = refused + 1
  end
end
