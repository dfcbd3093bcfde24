-- Every space that Lua has, as action and, the same again, as observation: what comes in goes out.
local ferry = require "ferry"
local ffi = require "ffi"

local function spaces()
    return {
        scalar = ferry.box {dtype = "f64"},
        bounded = ferry.box {shape = {2, 3}, low = -1, high = 2.5},
        each = ferry.box {shape = {3}, low = {-1, -2, -3}, high = {1, 20, 300}, dtype = "i32"},
        bytes = ferry.box {shape = {4, 5, 3}, low = 0, high = 255, dtype = "u8"},
        flags = ferry.box {shape = {5}, low = 0, high = 1, dtype = "bool"},
        flag = ferry.box {low = 0, high = 1, dtype = "bool"},
        i8 = ferry.box {shape = {2}, dtype = "i8"},
        i16 = ferry.box {shape = {2}, dtype = "i16"},
        u16 = ferry.box {shape = {2}, dtype = "u16"},
        u32 = ferry.box {shape = {2}, dtype = "u32"},
        i64 = ferry.box {shape = {2}, dtype = "i64"},
        u64 = ferry.box {shape = {2}, dtype = "u64"},
        choice = ferry.discrete(5, -2),
        choices = ferry.multi_discrete {3, 1, 7},
        bits = ferry.multi_binary(6),
        word = ferry.text(12),
        pair = {ferry.discrete(2), {ferry.box {shape = {1}}, ferry.box {shape = {2}, dtype = "f64"}}},
        ["a/b#c%"] = {inner = ferry.discrete(3), nothing = {}},
    }
end

-- Copies by the rules of rows: arrays by their elements, what is one number or a text by assignment.
local function copy(from, to)
    for key, value in pairs(from) do
        if type(value) == "table" then
            copy(value, to[key])
        elseif type(value) == "cdata" then
            ffi.copy(to[key], value, ffi.sizeof(value))
        else
            to[key] = value
        end
    end
end

local env = ferry.open {observation = spaces(), action = spaces(), info = {moves = ferry.box {dtype = "i64"}, path = ferry.text(9)}}
local moves = 0
for kind, row in env:turns() do
    if kind == "step" then
        moves = moves + 1
        copy(row.action, row.observation)
        row.info.moves = moves
        row.info.path = "step " .. moves
        row.info.note = {ferry.null, true, "\0\"é"}
    else
        local seen = row.observation
        seen.scalar, seen.flag, seen.choice, seen.word, seen.pair[1], seen["a/b#c%"].inner = 0, false, 0, "", 0, 0
    end
end
