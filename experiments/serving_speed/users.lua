-- asks for another of 10,000 users each time
counter = 0
function setup(thread) thread:set("seed", counter); counter = counter + 1 end
function init(args) math.randomseed(seed); suffix = args[1] or "" end
function request()
  return wrk.format("GET", "/v1/recommendations?k=20&user_id=u" .. math.random(0, 9999) .. suffix)
end
