-- Each request is of a random user among as many as the first argument says.
function init(args)
  users = tonumber(args[1])
  math.randomseed(tonumber(args[2]))
end

function request()
  return wrk.format(nil, nil, { ["x-user"] = "user-" .. math.random(users), ["accept"] = "application/json" })
end
