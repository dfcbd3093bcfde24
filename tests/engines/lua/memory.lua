-- How much Lua allocates: the collector stands still, and the info says how many KiB there are.
local ferry = require "ferry"

local env = ferry.open {
    observation = {place = ferry.box {shape = {4}}, level = ferry.discrete(3)},
    action = {push = ferry.box {shape = {2}}, jump = ferry.discrete(2)},
    info = {kib = ferry.box {dtype = "f64"}},
}
collectgarbage("stop")
for kind, row in env:turns() do
    local place = row.observation.place
    if kind == "step" then
        place[0] = place[0] + row.action.push[1]
    end
    row.observation.level = row.action.jump or 0
    row.info.kib = collectgarbage("count")
end
