-- Bounce, for a person and for an agent.
--
--     love engines/love/example                                 a person plays (arrow keys); an agent may come to "bounce" and take over
--     env = ferry.launch(["love", "engines/love/example"])      in Python: no window, as fast as it goes
--     env = ferry.launch(["love", "engines/love/example", "--window"])          the same at 60 ticks a second, to be watched

package.path = package.path .. ";" .. love.filesystem.getSource() .. "/../?.lua" -- a game of your own has ferry.lua beside main.lua
local ferry = require "ferry"
local Game = require "game"

local game = Game.new()
local env -- opened by love.load
local agent_is_here = false

local function open()
    return ferry.open {
        address = "bounce",
        observation = ferry.box {shape = {5}, low = {-1, -1, -50, -50, 0}, high = {11, 11, 50, 50, 10}},
        action = ferry.discrete(3, -1),
        info = {hits = ferry.box {dtype = "i32"}},
        metadata = {render_fps = 60},
        max_episode_steps = 3000,
    }
end

-- What the tick led to, for the agent.
local function answer(row, was_hit)
    game:observe(row.observation)
    row.reward = was_hit and 1 or 0
    row.terminated = game:over()
    row.info.hits = game.hits
    env:reply()
end

-- One tick that an agent has asked for, if it does so within so many seconds; nil if not. The RESET is the turn that lasts: nobody
-- answers it until the game has counted down, some frames later, and wait only looks meanwhile whether the agent is there still.
local function play_agent(seconds)
    local kind, row = env:wait(env.holding and 0 or seconds)
    if kind == "reset" then
        game:reset(row.seed)
    elseif kind == "step" then
        game.push = row.action
    elseif kind == "closed" then
        love.event.quit()
    elseif kind == "left" then
        agent_is_here = false -- a person goes on, or the next agent
    end
    if not env.holding then
        return nil
    end
    agent_is_here = true
    local was_hit = game:advance()
    if not game:counting_down() then
        answer(env.due[1], was_hit)
    end
    return true
end

local function play_person()
    if game:over() then
        game:reset()
    end
    local is_down = love.keyboard.isDown
    game.push = (is_down("right") and 1 or 0) - (is_down("left") and 1 or 0)
    game:advance()
end

function love.load()
    game:reset()
    env = open()
end

function love.quit()
    env:close() -- the agent hears of it now, not when LÖVE has put all else away
end

-- With a window: nothing may block, and the time goes on in ticks. An agent that thinks stops the ball, not the game.
local owed = 0
function love.update(dt)
    owed = math.min(owed + dt, 0.1)
    while owed >= Game.TICK do
        owed = owed - Game.TICK
        if not play_agent(0) and not agent_is_here then
            play_person()
        end
    end
end

function love.draw()
    local scale = love.graphics.getWidth() / Game.WIDTH
    love.graphics.scale(scale)
    love.graphics.circle("fill", game.ball:getX(), game.ball:getY(), Game.RADIUS)
    love.graphics.rectangle("fill", game.paddle:getX() - game.paddle_width / 2, Game.PADDLE_Y - 0.1, game.paddle_width, 0.2)
    love.graphics.origin()
    love.graphics.print(string.format("%d hits%s", game.hits, agent_is_here and ", played by an agent" or ""), 10, 10)
end

-- Without one: the agent is all there is to wait for. Events (SIGTERM, Ctrl-C) are looked at between many turns, and when none comes.
local TURNS_BETWEEN_EVENTS = 100

if HEADLESS then
    function love.run()
        love.load()
        return function()
            love.event.pump()
            for name, code in love.event.poll() do
                if name == "quit" then
                    love.quit()
                    return code or 0
                end
            end
            for _ = 1, TURNS_BETWEEN_EVENTS do
                if not play_agent(0.1) then
                    break
                end
            end
        end
    end
end
