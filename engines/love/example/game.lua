--- Bounce: keep a ball in the air with a paddle. Rules and physics alone; no window, and nothing of Ferry.

local Game = {WIDTH = 10, HEIGHT = 8, TICK = 1 / 60, RADIUS = 0.3, PADDLE_Y = 7.5}
Game.__index = Game

local PADDLE_SPEED, PADDLE_THICKNESS = 8, 0.2
local COUNTDOWN_TICKS = 30

--- A game that begins with reset.
-- @param paddle_width in metres; 2 is a fair game
function Game.new(paddle_width)
    return setmetatable({paddle_width = paddle_width or 2, chance = love.math.newRandomGenerator(os.time()), push = 0}, Game)
end

local function add_walls(world)
    local w, h = Game.WIDTH, Game.HEIGHT
    local walls = love.physics.newBody(world, 0, 0, "static")
    -- Open at the bottom, and reaching beyond it: what falls must not come back around a corner.
    local fixture = love.physics.newFixture(walls, love.physics.newChainShape(false, 0, h + 2, 0, 0, w, 0, w, h + 2))
    fixture:setRestitution(1)
    fixture:setFriction(0)
end

local function add_ball(world, x, y)
    local ball = love.physics.newBody(world, x, y, "dynamic")
    local fixture = love.physics.newFixture(ball, love.physics.newCircleShape(Game.RADIUS))
    fixture:setRestitution(1)
    fixture:setFriction(0.2)
    ball:setBullet(true)
    ball:setGravityScale(0)
    return ball
end

--- Begins an episode: a new world, because one that has been played in remembers contacts. The ball hangs still while the game counts
-- down, and flies when counting_down() says no.
-- @param seed a number, or nil to go on with chance as it is
function Game:reset(seed)
    if seed then
        self.chance:setSeed(seed % 2 ^ 53)
    end
    if self.world then
        self.world:destroy()
    end
    love.physics.setMeter(1)
    self.world = love.physics.newWorld(0, 6)
    add_walls(self.world)
    self.ball = add_ball(self.world, 2 + 6 * self.chance:random(), 2)
    self.paddle = love.physics.newBody(self.world, Game.WIDTH / 2, Game.PADDLE_Y, "kinematic")
    local fixture = love.physics.newFixture(self.paddle, love.physics.newRectangleShape(self.paddle_width, PADDLE_THICKNESS))
    fixture:setRestitution(1)
    self.speed_x = (self.chance:random() * 2 + 1) * (self.chance:random() < 0.5 and -1 or 1)
    self.countdown, self.hits, self.rising, self.push = COUNTDOWN_TICKS, 0, false, 0
end

--- Whether the episode has not quite begun.
function Game:counting_down()
    return self.countdown > 0
end

local function count_down(self)
    self.countdown = self.countdown - 1
    if self.countdown == 0 then
        self.ball:setGravityScale(1)
        self.ball:setLinearVelocity(self.speed_x, 0)
    end
end

-- Moves the paddle as it is pushed, up to the walls.
local function move_paddle(self)
    local x, half = self.paddle:getX(), self.paddle_width / 2
    local speed = self.push * PADDLE_SPEED
    if (speed < 0 and x <= half) or (speed > 0 and x >= Game.WIDTH - half) then
        speed = 0
    end
    self.paddle:setLinearVelocity(speed, 0)
end

--- Goes on by a tick. self.push is -1, 0 or 1.
-- @return whether the paddle has hit the ball
function Game:advance()
    if self:counting_down() then
        count_down(self)
    else
        move_paddle(self)
    end
    self.world:update(Game.TICK)
    local _, y = self.ball:getPosition()
    local _, speed_y = self.ball:getLinearVelocity()
    local turned = speed_y < 0 and not self.rising and y > Game.HEIGHT / 2
    self.rising = speed_y < 0
    self.hits = self.hits + (turned and 1 or 0)
    return turned
end

--- Whether the ball is lost.
function Game:over()
    return self.ball:getY() > Game.HEIGHT + 1
end

--- What an agent sees, into an array: place and speed of the ball, place of the paddle.
function Game:observe(out)
    out[0], out[1] = self.ball:getPosition()
    out[2], out[3] = self.ball:getLinearVelocity()
    out[4] = self.paddle:getX()
end

return Game
