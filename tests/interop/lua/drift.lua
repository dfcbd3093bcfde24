-- The scenario of tests/interop/README.md in LuaJIT.
local ferry = require "ferry"

local env = ferry.open {
    observation = {position = ferry.box {shape = {2}, low = -10, high = 10}, ticks = ferry.discrete(101)},
    action = {move = ferry.discrete(3, -1), push = ferry.box {shape = {2}, low = -1, high = 1}},
    info = {energy = ferry.box {low = 0, dtype = "f64"}},
}
local x, y, ticks = 0, 0, 0

for kind, row in env:turns() do
    if env.options then
        env:fail("drift takes no options")
    else
        if kind == "reset" then
            local seed = row.seed
            x, y, ticks = seed and seed % 7 - 3 or 0, seed and seed % 5 - 2 or 0, 0
            row.info.language = "lua"
        else
            local push = row.action.push
            x, y, ticks = x + 0.5 * row.action.move + push[0], y + push[1], ticks + 1
            row.terminated = math.abs(x) > 8 or math.abs(y) > 8
            row.truncated = ticks == 100
            row.reward = -(math.abs(x) + math.abs(y))
        end
        local position = row.observation.position
        position[0], position[1] = x, y
        row.observation.ticks = ticks
        row.info.energy = x * x + y * y
    end
end
