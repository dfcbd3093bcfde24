-- Counters, one in each row: an action is added, 5 ends the episode.
local ferry = require "ferry"

local env = ferry.open {
    observation = {count = ferry.discrete(100), pair = ferry.box {shape = {2}}},
    action = ferry.discrete(3),
    info = {double = ferry.box {dtype = "f64"}},
    rows = 4,
}
for kind, row in env:turns() do
    local seen = row.observation
    seen.count = kind == "reset" and (row.seed or 0) % 5 or seen.count + row.action
    seen.pair[0], seen.pair[1] = row.number, seen.count
    row.reward, row.terminated = seen.count / 4, seen.count >= 5
    if row.number ~= 1 then
        row.info.double = 2 * seen.count
    else
        row.info.note = "one"
    end
end
