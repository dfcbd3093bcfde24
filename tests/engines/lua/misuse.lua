-- What a program may do wrong without harm: misuse.lua KIND.
local ferry = require "ferry"

local function open(attributes)
    return ferry.open {
        address = "misuse", observation = ferry.box {shape = {1}}, action = ferry.discrete(2), attributes = attributes,
    }
end

local KINDS = {}

-- An agent calls what closes the environment.
function KINDS.close()
    local env
    env = open {quit = function() env:close() return 1 end}
    for _ in env:turns() do end
    print("closed: " .. env:why())
end

-- The whole library is collected with an environment that was forgotten.
function KINDS.forget()
    open()
    ferry, package.loaded.ferry = nil, nil
    for _ = 1, 3 do
        collectgarbage()
    end
    print("collected")
end

-- What went wrong is an object and no text; the turn is answered all the same.
function KINDS.fail()
    local env = open()
    for kind in env:turns() do
        if kind == "step" then
            env:fail(setmetatable({}, {__tostring = function() return "a table of errors" end}))
        end
    end
end

KINDS[arg[1]]()
