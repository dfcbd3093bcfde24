-- What LuaJIT makes of ferry.lua's declarations: a line for each name that it is given, with sizes and offsets.
local ferry = require "ferry"
local ffi = require "ffi"

for line in io.lines() do
    local struct, member = line:match("^(%S+) (%S+)$")
    if member then
        print(struct, member, (ffi.offsetof(struct, member)))
    elseif line:match("^FERRY") then
        print(line, tonumber(ffi.C[line]))
    else
        print(line, ffi.sizeof(line))
    end
end
