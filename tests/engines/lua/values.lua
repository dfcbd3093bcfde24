-- One number and one list; the agent's action chooses what is done wrong, and the text of the error is the info.
local ferry = require "ferry"

local faults = {
    function(row) row.observation.level = nil end,
    function(row) row.observation.level = "high" end,
    function(row) row.observation.list = {1, 2} end,
    function(row) row.observation.list = require "ffi".new("float[2]") end,
    function(row) row.observation.word = "too long" end,
    function(row) row.info.what = print end,
    function(row) row.info.knot = row.info end,
}

local env = ferry.open {
    address = "values",
    observation = {level = ferry.discrete(3), list = ferry.box {shape = {3}}, word = ferry.text(3)},
    action = ferry.discrete(#faults + 1),
    attributes = {
        level = 1,
        raise = function() error("as was asked for") end,
        echo = function(value) return value end,
        sum = function(a, b, named) return a + b + (named and named.c or 0) end,
    },
}

while true do
    local kind, row = env:wait()
    if kind == "closed" then
        break
    elseif kind ~= "left" then
        local seen = row.observation
        seen.level, seen.list, seen.word = 2, {1, 2, 3}, "abc"
        if kind == "step" and faults[row.action] then
            faults[row.action](row)
            local answered, text = pcall(env.reply, env)
            if answered then
                error("that should have failed")
            end
            env:fail(text)
        else
            env:reply()
        end
    end
end
