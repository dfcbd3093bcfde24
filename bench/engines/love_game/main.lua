-- The game of engines/love/example with a paddle as wide as the court, so that no episode ends: steps for an agent, and the same steps
-- alone, when the agent calls for them.
local root = love.filesystem.getSource() .. "/../../../engines/love/"
package.path = root .. "?.lua;" .. root .. "example/?.lua;" .. package.path
local ferry = require "ferry"
local Game = require "game"

local game = Game.new(Game.WIDTH)

local function begin(seed)
    game:reset(seed)
    while game:counting_down() do
        game:advance()
    end
end

-- So many steps with nobody to answer; microseconds for each, and where they led to.
local function alone(seed, steps)
    local seen = {}
    begin(seed)
    local start = love.timer.getTime()
    for i = 0, steps - 1 do
        game.push = i % 3 - 1
        game:advance()
        game:observe(seen)
    end
    local us = (love.timer.getTime() - start) * 1e6 / steps
    return {us = us, observation = {seen[0], seen[1], seen[2], seen[3], seen[4]}}
end

local env = ferry.open {
    observation = ferry.box {shape = {5}},
    action = ferry.discrete(3, -1),
    attributes = {alone = alone},
}

local function play()
    local kind, row = env:wait(0.1)
    if kind == "reset" then
        begin(row.seed)
    elseif kind == "step" then
        game.push = row.action
        game:advance()
    else
        return kind
    end
    game:observe(row.observation)
    env:reply()
end

-- As the example does: events are looked at between turns.
function love.run()
    return function()
        love.event.pump()
        for name in love.event.poll() do
            if name == "quit" then
                return 0
            end
        end
        for _ = 1, 100 do
            local what = play()
            if what == "closed" then
                return 0
            end
        end
    end
end
