-- A game with frames of its own that never waits: a reset takes 20 of them, a step one. Counts the turns that nobody was there to hear.
local ferry = require "ferry"
local ffi = require "ffi"

ffi.cdef "int usleep(unsigned microseconds);"

local env = ferry.open {
    observation = {frames = ferry.discrete(1000), unheard = ferry.discrete(1000)},
    action = ferry.discrete(2),
}
local RESET_FRAMES = 20
local due = 0 -- at which frame the turn will be answered
local frames, unheard = 0, 0

local kind
repeat
    kind = env:wait(0)
    if kind == "reset" then
        frames, due = 0, RESET_FRAMES
    elseif kind == "step" then
        due = frames + 1
    elseif kind == "left" and frames < due then
        unheard = unheard + 1
        env:reply() -- nobody hears it, and it is no error
    end
    frames = frames + 1
    if env.holding and frames >= due then
        env.due[1].observation.frames, env.due[1].observation.unheard = frames, unheard
        env:reply()
    end
    ffi.C.usleep(5000)
until kind == "closed"
