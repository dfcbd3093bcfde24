--- Ferry for LuaJIT: an environment in LÖVE, or in any program with LuaJIT's FFI, played by an agent in another process.
--
-- A complete environment:
--
--     local ferry = require "ferry"
--     local env = ferry.open {
--         address = "walk",
--         observation = ferry.box {shape = {1}, low = -10, high = 10},
--         action = ferry.discrete(3, -1),
--     }
--     local x = 0
--     for kind, row in env:turns() do -- waits for the agent; answers when the loop comes round
--         x = kind == "reset" and 0 or x + row.action
--         row.observation[0] = x
--         row.reward, row.terminated = x >= 10 and 1 or 0, math.abs(x) >= 10
--     end
--
-- and from Python: env = ferry.ClientEnv("walk"). A game that has frames of its own calls env:wait(0) in each and env:reply() when it
-- has an answer, in the same frame or a later one.
--
-- A row is one environment, as a rule the only one. What is one number (a Discrete, a Box without a shape) is a Lua number in it; what
-- has a shape is an FFI array, in C order and counted from 0, whose bounds nobody checks. The arrays stay the same, and keep what was
-- written last: take them out of the row once. 64-bit integers in arrays are LuaJIT's int64_t: tonumber() makes numbers of them.
--
-- A step makes no garbage where LuaJIT compiles it. Nothing here calls back from C: what the library has to say goes to standard error.

local has_ffi, ffi = pcall(require, "ffi")
if not has_ffi then
    error("ferry.lua needs LuaJIT with its FFI, and runs in " .. (jit and jit.version .. " without it" or _VERSION), 0)
end

-- The parts of libferry.h that are used here; tests/engines/test_love.py compares them with it.
local DECLARATIONS = [[
enum {
    FERRY_VERSION = 0x000100,
    FERRY_ECLOSED = -13,
    FERRY_OBSERVATION = 0, FERRY_ACTION = 1, FERRY_INFO = 2,
    FERRY_BOX = 0, FERRY_DISCRETE = 1, FERRY_MULTI_DISCRETE = 2, FERRY_MULTI_BINARY = 3, FERRY_DICT = 4, FERRY_TUPLE = 5,
    FERRY_STRING = 6,
    FERRY_DEFAULT = 0, FERRY_BOOL = 1, FERRY_I8 = 2, FERRY_U8 = 3, FERRY_I16 = 4, FERRY_U16 = 5, FERRY_I32 = 6, FERRY_U32 = 7,
    FERRY_I64 = 8, FERRY_U64 = 9, FERRY_F32 = 11, FERRY_F64 = 12,
    FERRY_MAX_NDIM = 8,
    FERRY_NONE = 0, FERRY_JSON = 1,
    FERRY_STEP = 1, FERRY_RESET = 2, FERRY_LEFT = 3, FERRY_CALL = 4
};

typedef struct ferry_why {
    int32_t code;
    char text[1532];
} ferry_why;

typedef struct ferry_field {
    const char *path;
    uint8_t role;
    uint8_t kind;
    uint8_t dtype;
    uint8_t ndim;
    uint32_t shape[8];
    double low;
    double high;
    const void *low_each;
    const void *high_each;
    int64_t n;
    int64_t start;
    uint32_t capacity;
    uint32_t reserved;
} ferry_field;

typedef struct ferry_list {
    uint32_t count;
    uint32_t reserved;
} ferry_list;

typedef struct ferry_blob {
    const void *data;
    uint64_t size_bytes;
    uint32_t format;
    uint32_t reserved;
} ferry_blob;

typedef struct ferry_turn {
    uint32_t struct_size;
    uint32_t kind;
    uint64_t number;
    uint32_t num_fields;
    uint32_t num_rows;
    const uint32_t *rows;
    void *const *data;
    const uint64_t *stride;
    uint8_t *const *present;
    double *reward;
    uint8_t *terminated;
    uint8_t *truncated;
    uint8_t *status;
    int64_t *seed;
    uint64_t *episode;
    ferry_blob blob;
    int32_t reason;
    uint32_t peer_pid;
    ferry_blob step_blob;
    void *const *final_data;
    uint8_t *const *final_present;
    uint64_t frame;
    uint64_t answers;
    int64_t frame_ns;
    int64_t action_ns;
} ferry_turn;

typedef void (*ferry_log)(void *user, int level, const char *text);

typedef struct ferry_env ferry_env;

typedef struct ferry_env_desc {
    uint32_t struct_size;
    uint32_t num_rows;
    const char *address;
    const char *name;
    const ferry_field *fields;
    uint32_t num_fields;
    uint32_t blob_format;
    ferry_blob about;
    uint64_t blob_bytes;
    uint64_t max_bytes;
    ferry_log log;
    void *log_user;
    uint32_t takes_calls;
    uint32_t max_episode_steps;
    uint32_t rows_tick_together;
    int32_t index;
    uint32_t realtime;
    uint32_t reserved;
} ferry_env_desc;

uint32_t ferry_version(void);
const char *ferry_strerror(int err);
int ferry_env_open(const ferry_env_desc *desc, ferry_env **out, ferry_why *why);
int ferry_env_wait(ferry_env *env, int64_t timeout_ns, const ferry_turn **out);
int ferry_env_reply(ferry_env *env);
int ferry_env_fail(ferry_env *env, const char *text);
int ferry_env_blob(ferry_env *env, const ferry_blob *blob);
void ferry_env_why(const ferry_env *env, ferry_why *why);
void ferry_env_close(ferry_env *env);
]]

-- A file that is loaded anew, as editors of live code do, must not declare twice.
if not pcall(ffi.typeof, "ferry_env_desc") then
    ffi.cdef(DECLARATIONS)
end

-- ---- The library ---------------------------------------------------------------------------------------------------------------

local LIBRARY = ffi.os == "Windows" and "libferry.dll" or ffi.os == "OSX" and "libferry.dylib" or "libferry.so"

-- The folders beside this file. LÖVE names what it loads by its place inside the game, which may be an archive.
local function folders_nearby()
    local source = debug.getinfo(1, "S").source:match("^@(.*)$")
    if source == nil then
        return {}
    end
    local folder = source:match("^(.*)[/\\][^/\\]*$") or "."
    local root = love and love.filesystem and love.filesystem.getRealDirectory(source)
    if root then
        return {root .. "/" .. folder, love.filesystem.getSourceBaseDirectory()}
    end
    return {folder}
end

local function exists(path)
    local file = io.open(path, "rb")
    return file ~= nil and file:close()
end

local function load_library()
    local path = os.getenv("FERRY_LIBRARY")
    if path == "" then
        path = nil
    end
    for _, folder in ipairs(path and {} or folders_nearby()) do
        if path == nil and exists(folder .. "/" .. LIBRARY) then
            path = folder .. "/" .. LIBRARY
        end
    end
    local loaded, library = pcall(ffi.load, path or "ferry")
    if not loaded then
        error(string.format("ferry.lua cannot load libferry: %s; put %s beside ferry.lua, or set FERRY_LIBRARY to its path",
            library, LIBRARY), 0)
    end
    return library, path or "the system's " .. LIBRARY
end

local lib, lib_path = load_library()

local function version_text(version)
    return string.format("%d.%d.%d", math.floor(version / 65536), math.floor(version / 256) % 256, version % 256)
end

-- Structs may change with the minor version, as long as the major one is 0.
local function check_version()
    local known, version = pcall(function() return lib.ferry_version() end)
    if not known then
        error(lib_path .. " is no libferry: " .. version, 0)
    end
    if math.floor(version / 256) ~= math.floor(lib.FERRY_VERSION / 256) then
        error(string.format("%s is Ferry %s, and this ferry.lua is for %s; take both from one version",
            lib_path, version_text(version), version_text(lib.FERRY_VERSION)), 0)
    end
end

check_version()

local ferry = {version = version_text(lib.ferry_version()), library = lib_path, declarations = DECLARATIONS}

-- ---- JSON: options, infos and calls ----------------------------------------------------------------------------------------------

--- JSON's null in a table, where nil would leave no trace.
ferry.null = setmetatable({}, {__tostring = function() return "null" end})

local Array = {}

--- Marks a table as a list, which an empty one does not show.
function ferry.array(list)
    return setmetatable(list, Array)
end

local MAX_DEPTH = 64
local ESCAPES = {['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t"}
local CHARACTERS = {['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

local function quoted(text)
    return '"' .. text:gsub('[%c"\\]', function(c) return ESCAPES[c] or string.format("\\u%04x", c:byte()) end) .. '"'
end

local function put_json(value, out, depth)
    local kind = type(value)
    if depth > MAX_DEPTH then
        error("a table nests more than " .. MAX_DEPTH .. " levels deep: does it hold itself?", 0)
    elseif value == nil or value == ferry.null then
        out[#out + 1] = "null"
    elseif kind == "boolean" then
        out[#out + 1] = tostring(value)
    elseif kind == "number" then
        -- JSON has no words for NaN and the infinities.
        out[#out + 1] = value - value == 0 and string.format("%.17g", value) or "null"
    elseif kind == "cdata" and (ffi.istype("int64_t", value) or ffi.istype("uint64_t", value)) then
        out[#out + 1] = tostring(value):match("^-?%d+")
    elseif kind == "string" then
        out[#out + 1] = quoted(value)
    elseif kind ~= "table" then
        error("JSON has no " .. kind, 0)
    elseif #value > 0 or getmetatable(value) == Array then
        for i = 1, #value do
            out[#out + 1] = i == 1 and "[" or ","
            put_json(value[i], out, depth + 1)
        end
        out[#out + 1] = #value == 0 and "[]" or "]"
    else
        local begin = "{"
        for key, each in pairs(value) do
            out[#out + 1] = begin .. quoted(tostring(key)) .. ":"
            put_json(each, out, depth + 1)
            begin = ","
        end
        out[#out + 1] = begin == "{" and "{}" or "}"
    end
end

--- A value as JSON. A table with an element 1 is a list, any other a map.
function ferry.to_json(value)
    local out = {}
    put_json(value, out, 0)
    return table.concat(out)
end

local function utf8_of(code)
    if code < 0x80 then
        return string.char(code)
    elseif code < 0x800 then
        return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
    elseif code < 0x10000 then
        return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
    end
    return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64, 0x80 + math.floor(code / 64) % 64,
        0x80 + code % 64)
end

local function malformed(at)
    error("malformed JSON at byte " .. at, 0)
end

local function get_escape(text, at)
    local c = text:sub(at, at)
    if CHARACTERS[c] then
        return CHARACTERS[c], at + 1
    end
    local code = tonumber(text:match("^u(%x%x%x%x)", at) or malformed(at), 16)
    at = at + 5
    if code >= 0xD800 and code < 0xDC00 then -- the first half of a character beyond 16 bits
        local low = tonumber(text:match("^\\u([dD][c-fC-F]%x%x)", at) or malformed(at), 16)
        code, at = 0x10000 + (code - 0xD800) * 1024 + low - 0xDC00, at + 6
    elseif code >= 0xDC00 and code < 0xE000 then
        malformed(at)
    end
    return utf8_of(code), at
end

local function get_string(text, at)
    local parts = {}
    while true do
        local stop = text:find('["\\%z\1-\31]', at) or malformed(at)
        parts[#parts + 1] = text:sub(at, stop - 1)
        local c = text:sub(stop, stop)
        if c == '"' then
            return table.concat(parts), stop + 1
        elseif c ~= "\\" then
            malformed(stop)
        end
        parts[#parts + 1], at = get_escape(text, stop + 1)
    end
end

local WORDS = {["true"] = true, ["false"] = false, null = ferry.null, NaN = 0 / 0, Infinity = math.huge, ["-Infinity"] = -math.huge}
local get_json

-- The members of a list or a map, up to the bracket that closes it.
local function get_members(text, at, close, depth)
    local members, count = {}, 0
    at = text:match("^%s*()", at)
    if text:sub(at, at) == close then
        return members, at + 1
    end
    while true do
        local key
        if close == "}" then
            at = text:match('^%s*"()', at) or malformed(at)
            key, at = get_string(text, at)
            at = text:match("^%s*:()", at) or malformed(at)
        else
            count = count + 1
            key = count
        end
        members[key], at = get_json(text, at, depth + 1)
        local mark
        mark, at = text:match("^%s*([,%]}])()", at)
        if mark == close then
            return members, at
        elseif mark ~= "," then
            malformed(at or #text)
        end
    end
end

function get_json(text, at, depth)
    if depth > MAX_DEPTH then
        error("JSON nests more than " .. MAX_DEPTH .. " levels deep", 0)
    end
    at = text:match("^%s*()", at)
    local c = text:sub(at, at)
    if c == "{" then
        return get_members(text, at + 1, "}", depth)
    elseif c == "[" then
        local list
        list, at = get_members(text, at + 1, "]", depth)
        return ferry.array(list), at
    elseif c == '"' then
        return get_string(text, at + 1)
    end
    local word, after = text:match("^([%w+.-]+)()", at)
    if WORDS[word] ~= nil then
        return WORDS[word], after
    end
    local number = word and word:match("^-?%d+%.?%d*[eE]?[+-]?%d*$") and tonumber(word)
    return number or malformed(at), after
end

--- The value of a JSON text; null is ferry.null. Errors if it is malformed.
function ferry.from_json(text)
    local value, at = get_json(text, 1, 0)
    if not text:match("^%s*$", at) then
        malformed(at)
    end
    return value
end

-- ---- Spaces ----------------------------------------------------------------------------------------------------------------------

local DTYPES = {
    bool = {lib.FERRY_BOOL, "bool"},
    i8 = {lib.FERRY_I8, "int8_t"}, u8 = {lib.FERRY_U8, "uint8_t"},
    i16 = {lib.FERRY_I16, "int16_t"}, u16 = {lib.FERRY_U16, "uint16_t"},
    i32 = {lib.FERRY_I32, "int32_t"}, u32 = {lib.FERRY_U32, "uint32_t"},
    i64 = {lib.FERRY_I64, "int64_t"}, u64 = {lib.FERRY_U64, "uint64_t"},
    f32 = {lib.FERRY_F32, "float"}, f64 = {lib.FERRY_F64, "double"},
}

local Space = {}

local function is_space(value)
    return getmetatable(value) == Space
end

local function space(kind, dtype, shape, rest)
    local made = rest or {}
    if DTYPES[dtype] == nil then
        error("there is no dtype '" .. tostring(dtype) .. "' in Lua: bool, i8 to i64, u8 to u64, f32 or f64", 3)
    elseif #shape > lib.FERRY_MAX_NDIM then
        error("a shape has at most " .. lib.FERRY_MAX_NDIM .. " dimensions", 3)
    end
    made.kind, made.dtype, made.shape, made.count = kind, dtype, shape, 1
    for _, length in ipairs(shape) do
        made.count = made.count * length
    end
    return setmetatable(made, Space)
end

--- Numbers. `low` and `high` are numbers, or lists with one for each element in C order; none: no bounds. Without a shape: one number.
-- @param what {shape = {...}, low =, high =, dtype = "f32"}
function ferry.box(what)
    what = what or {}
    local low, high = what.low, what.high
    if low ~= nil or high ~= nil then
        low, high = low or -math.huge, high or math.huge
    end
    if low == 0 and high == 0 then
        error("bounds of 0 and 0 are how C says that there are none; give lists of zeros", 2)
    end
    return space(lib.FERRY_BOX, what.dtype or "f32", what.shape or {}, {low = low, high = high})
end

--- One of n integers, from start (0) on.
function ferry.discrete(n, start)
    return space(lib.FERRY_DISCRETE, "i64", {}, {n = n, start = start or 0})
end

--- Several choices at once: ferry.multi_discrete {3, 2} is one of three and one of two, each from 0 on.
function ferry.multi_discrete(sizes, dtype)
    local low, high = {}, {}
    for i, size in ipairs(sizes) do
        low[i], high[i] = 0, size - 1
    end
    return space(lib.FERRY_MULTI_DISCRETE, dtype or "i64", {#sizes}, {low = low, high = high})
end

--- So many zeros and ones.
function ferry.multi_binary(n)
    return space(lib.FERRY_MULTI_BINARY, "i8", {n})
end

--- A Lua string of up to so many printable ASCII characters.
function ferry.text(max_length)
    return space(lib.FERRY_STRING, "u8", {}, {capacity = max_length})
end

-- A part of a path, in which '%', '/' and '#' have meanings.
local function path_part(key)
    return key == "" and "%-" or (key:gsub("[%%/#]", function(c) return string.format("%%%02X", c:byte()) end))
end

-- Calls visit(path, space, keys) for each leaf: a Dict is a table with names, in their order, a Tuple one with places.
local function visit_leaves(tree, path, keys, visit)
    if is_space(tree) then
        return visit(path, tree, keys)
    elseif type(tree) ~= "table" then
        error("a space is made by ferry.box and its like, or is a table of spaces, not a " .. type(tree), 0)
    end
    local names = {}
    for name in pairs(tree) do
        names[#names + 1] = name
    end
    table.sort(names)
    local is_tuple = #tree > 0
    if #names == 0 then
        visit(path, space(lib.FERRY_DICT, "u8", {}, {empty = true}), keys)
    elseif is_tuple and #tree ~= #names then
        error("a table of spaces has names, or places from 1 on, not both", 0)
    end
    for _, name in ipairs(names) do
        local part = is_tuple and "#" .. (name - 1) or (path == "" and "" or "/") .. path_part(tostring(name))
        local below = {unpack(keys)}
        below[#below + 1] = name
        visit_leaves(tree[name], path .. part, below, visit)
    end
end

-- Bounds of each element, as an array of the dtype.
local function each_bound(bound, leaf)
    local list = bound
    if type(bound) == "number" then
        list = {}
        for i = 1, leaf.count do
            list[i] = bound
        end
    elseif #bound ~= leaf.count then
        error(string.format("%d bounds for %d elements", #bound, leaf.count), 0)
    end
    return ffi.new(DTYPES[leaf.dtype][2] .. "[?]", leaf.count, list)
end

-- Fills a ferry_field; what it points at is kept in anchors.
local function describe(field, role, path, leaf, anchors)
    anchors[#anchors + 1] = path
    field.path, field.role, field.kind = path, role, leaf.kind
    if leaf.empty then
        return
    end
    field.dtype, field.ndim = DTYPES[leaf.dtype][1], #leaf.shape
    for d, length in ipairs(leaf.shape) do
        field.shape[d - 1] = length
    end
    field.n, field.start, field.capacity = leaf.n or 0, leaf.start or 0, leaf.capacity or 0
    if type(leaf.low) == "table" or type(leaf.high) == "table" then
        local low, high = each_bound(leaf.low, leaf), each_bound(leaf.high, leaf)
        anchors[#anchors + 1], anchors[#anchors + 2] = low, high
        field.low_each, field.high_each = low, high
    else
        field.low, field.high = leaf.low or 0, leaf.high or 0
    end
end

-- ---- Values: between the tables of a row and the slot ------------------------------------------------------------------------------

-- A leaf of one role: where it lies in the turn, and for each row the table and key that hold it, and the array of its elements.
local function new_leaf(index, leaf, keys)
    local ctype = DTYPES[leaf.dtype][2]
    local count = leaf.capacity or leaf.count
    return {
        index = index, name = table.concat(keys, "."), key = keys[#keys], keys = keys, count = count,
        bytes = count * ffi.sizeof(ctype), is_text = leaf.capacity ~= nil, is_number = leaf.capacity == nil and #leaf.shape == 0,
        is_wide = leaf.dtype == "i64" or leaf.dtype == "u64", holders = {}, arrays = {},
        array_type = ffi.typeof(ctype .. "[?]"),
    }
end

-- Makes the tables that lead to the leaf in a row, and its array there.
local function place_leaf(leaf, row)
    local holder = row
    for i = 1, #leaf.keys - 1 do
        holder[leaf.keys[i]] = holder[leaf.keys[i]] or {}
        holder = holder[leaf.keys[i]]
    end
    local array = leaf.array_type(leaf.count)
    leaf.holders[row.number], leaf.arrays[row.number] = holder, array
    return holder, array
end

local byte_pointer = ffi.typeof("uint8_t *")
local list_pointer = ffi.typeof("ferry_list *")
local TEXT_OFFSET = ffi.sizeof("ferry_list")

-- Where a leaf of a row lies in the slot.
local function slot_of(turn, leaf, number)
    local first = ffi.cast(byte_pointer, turn.data[leaf.index])
    return number == 0 and first or first + tonumber(turn.stride[leaf.index]) * number
end

-- An action's leaf, out of the slot; false: it is too long for it.
local function read_leaf(turn, leaf, number)
    local at, array = slot_of(turn, leaf, number), leaf.arrays[number]
    if leaf.is_text then
        local length = ffi.cast(list_pointer, at).count
        if length > leaf.count then -- FERRY_IN_BLOB
            return false
        end
        leaf.holders[number][leaf.key] = ffi.string(at + TEXT_OFFSET, length)
        return true
    end
    ffi.copy(array, at, leaf.bytes)
    if leaf.is_wide and leaf.is_number then
        leaf.holders[number][leaf.key] = tonumber(array[0])
    elseif leaf.is_number then
        leaf.holders[number][leaf.key] = array[0]
    end
    return true
end

local function wrong_value(leaf, value, wanted)
    error(string.format("%s is %s, and must be %s", leaf.name, value == nil and "not set" or "a " .. type(value), wanted), 0)
end

-- Elements that the program gives in a list or an array of its own.
local function copy_elements(leaf, array, value)
    if type(value) == "table" and #value == leaf.count then
        for i = 1, leaf.count do
            array[i - 1] = value[i]
        end
    elseif type(value) == "cdata" and ffi.sizeof(value) == leaf.bytes then
        ffi.copy(array, value, leaf.bytes)
    else
        wrong_value(leaf, value, string.format("a list of %d, or an array of %d bytes", leaf.count, leaf.bytes))
    end
end

-- A leaf of an answer, into the slot.
local function write_leaf(turn, leaf, number, value)
    local at, array = slot_of(turn, leaf, number), leaf.arrays[number]
    if leaf.is_text then
        if type(value) ~= "string" or #value > leaf.count then
            wrong_value(leaf, value, "a string of at most " .. leaf.count .. " bytes")
        end
        ffi.cast(list_pointer, at).count = #value
        ffi.copy(at + TEXT_OFFSET, value, #value)
        return
    elseif leaf.is_number then
        if type(value) ~= "number" and type(value) ~= "boolean" then
            wrong_value(leaf, value, "a number")
        end
        array[0] = value
    elseif not rawequal(value, array) then
        copy_elements(leaf, array, value)
    end
    ffi.copy(at, array, leaf.bytes)
end

-- ---- The environment -------------------------------------------------------------------------------------------------------------

local Env = {}
Env.__index = Env

local FOREVER, SLICE_NS = -1, 100000000

-- Infos have no space around them: each is one leaf, and its path is its key as it stands.
local function leaves_of_infos(infos, add)
    local names = {}
    for name, leaf in pairs(infos) do
        if type(name) ~= "string" or not is_space(leaf) then
            error("info = {NAME = one space, ...}, and '" .. tostring(name) .. "' is not so", 0)
        end
        names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
        add(lib.FERRY_INFO, name, infos[name], {"info", name})
    end
end

-- Fields of the roles in their order, and for each the leaf that the rows hold.
local function leaves_of(what)
    local specs, anchors = {}, {}
    local function add(role, path, leaf, keys)
        specs[#specs + 1] = {role = role, path = path, leaf = leaf, keys = keys}
    end
    local roles = {
        {lib.FERRY_OBSERVATION, "observation", what.observation},
        {lib.FERRY_ACTION, "action", what.action},
        {lib.FERRY_INFO, "info", what.info or {}},
    }
    for _, role in ipairs(roles) do
        local number, name, tree = unpack(role)
        if tree == nil then
            error("ferry.open needs " .. name .. " = a space", 0)
        end
        if name == "info" then
            leaves_of_infos(tree, add)
        else
            visit_leaves(tree, "", {name}, function(path, leaf, keys) add(number, path, leaf, keys) end)
        end
    end
    local fields = ffi.new("ferry_field[?]", #specs)
    local leaves = {[lib.FERRY_OBSERVATION] = {}, [lib.FERRY_ACTION] = {}, [lib.FERRY_INFO] = {}}
    for i, spec in ipairs(specs) do
        describe(fields[i - 1], spec.role, spec.path, spec.leaf, anchors)
        if not spec.leaf.empty then
            table.insert(leaves[spec.role], new_leaf(i - 1, spec.leaf, spec.keys))
        end
    end
    return fields, #specs, leaves, anchors
end

local function new_row(number, leaves)
    local row = {number = number, reward = 0, terminated = false, truncated = false, observation = {}, action = {}, info = {}}
    for role, list in pairs(leaves) do
        for _, leaf in ipairs(list) do
            local holder, array = place_leaf(leaf, row)
            -- Infos are given or not; numbers and texts are whatever the program sets.
            if role ~= lib.FERRY_INFO and not leaf.is_number and not leaf.is_text then
                holder[leaf.key] = array
            end
        end
    end
    return row
end

--- Opens an environment; waits for nobody.
-- FERRY_ADDRESS in the process's environment takes precedence over the address, so that launchers work.
-- @param what {observation = SPACE, action = SPACE, address = "NAME", name =, info = {NAME = SPACE, ...}, metadata = {...},
--     max_episode_steps =, rows = 1, rows_tick_together = false, attributes = {...}}
--     A SPACE is made by ferry.box and its like, or a table of such: with names a Dict, with places a Tuple. `attributes` are functions
--     that the agent may call, and values that it may get and set.
-- @return an env; its `rows` are a list. Errors say what to do.
function ferry.open(what)
    local fields, num_fields, leaves, anchors = leaves_of(what)
    local about = what.metadata and ferry.to_json({metadata = what.metadata})
    local num_rows = math.max(1, what.rows or 1)
    local desc = ffi.new("ferry_env_desc", {
        struct_size = ffi.sizeof("ferry_env_desc"), num_rows = num_rows, address = what.address, name = what.name,
        fields = fields, num_fields = num_fields, blob_format = lib.FERRY_JSON,
        max_episode_steps = what.max_episode_steps or 0, rows_tick_together = what.rows_tick_together and 1 or 0,
        takes_calls = what.attributes and 1 or 0,
    })
    if about then
        desc.about.data, desc.about.size_bytes, desc.about.format = ffi.cast("const char *", about), #about, lib.FERRY_JSON
    end
    local why, handle = ffi.new("ferry_why"), ffi.new("ferry_env *[1]")
    local err = lib.ferry_env_open(desc, handle, why)
    anchors[1] = nil -- what the fields point at has been copied; until here somebody had to hold it
    if err < 0 then
        error(ffi.string(why.text), 2)
    end
    local env = setmetatable({
        -- A closure, which holds the library: else a collection of everything at once might unload it first.
        handle = ffi.gc(handle[0], function(last) lib.ferry_env_close(last) end), out = ffi.new("const ferry_turn *[1]"),
        held = ffi.new("const ferry_turn *[1]"), -- the turn that is to be answered: a look for the next one clears out[0]
        blob = ffi.new("ferry_blob"),
        observations = leaves[lib.FERRY_OBSERVATION], actions = leaves[lib.FERRY_ACTION], infos = leaves[lib.FERRY_INFO],
        attributes = what.attributes, rows = {}, due = {}, num_due = 0, holding = false, abandoned = false,
    }, Env)
    for number = 0, num_rows - 1 do
        env.rows[number + 1] = new_row(number, leaves)
    end
    return env
end

--- What is known of the env's state, in words.
function Env:why()
    if not self.handle then
        return "the environment is closed"
    end
    local why = ffi.new("ferry_why")
    lib.ferry_env_why(self.handle, why)
    return ffi.string(why.text)
end

local function check(env, err)
    if err < 0 then
        local text = env:why()
        error(text ~= "" and text or ffi.string(lib.ferry_strerror(err)), 3)
    end
end

local function open_handle(env)
    return env.handle or error("the environment is closed", 3)
end

-- What rides on the turn, a table; nil: nothing.
local function read_blob(turn)
    if turn.blob.format == lib.FERRY_NONE then
        return nil
    end
    local value = ferry.from_json(ffi.string(turn.blob.data, tonumber(turn.blob.size_bytes)))
    return type(value) == "table" and value ~= ferry.null and next(value) ~= nil and value or nil
end

local function begin_row(row, turn, kind)
    row.reward, row.terminated, row.truncated, row.seed = 0, false, false, nil
    if next(row.info) ~= nil then
        for key in pairs(row.info) do
            row.info[key] = nil
        end
    end
    if kind == "reset" and turn.seed[row.number] >= 0 then
        row.seed = tonumber(turn.seed[row.number])
    end
end

-- Puts a turn into the rows that it is about; false: it cannot be, and the agent has been told.
local function take_turn(env, turn, kind)
    env.held[0] = turn
    env.kind, env.holding, env.abandoned, env.num_due, env.options = kind, true, false, turn.num_rows, nil
    for k = 1, env.num_due do
        local row = env.rows[turn.rows[k - 1] + 1]
        env.due[k] = row
        begin_row(row, turn, kind)
        if kind == "step" then
            for i = 1, #env.actions do
                if not read_leaf(turn, env.actions[i], row.number) then
                    env:fail(env.actions[i].name .. " is longer than its space allows")
                    return false
                end
            end
        end
    end
    if kind == "reset" and turn.blob.format ~= lib.FERRY_NONE then
        local read, options = pcall(read_blob, turn)
        if not read then
            env:fail("the options cannot be read: " .. options)
            return false
        end
        env.options = options
    end
    return true
end

local function answer_call(attributes, request)
    local name, value = request.name, attributes[request.name]
    local op = request.op
    if op == "has" then
        return type(value) == "function" and "method" or value ~= nil and "value" or nil
    elseif op == "call" and type(value) == "function" then
        local arguments = request.args or {}
        if request.kwargs and next(request.kwargs) ~= nil then
            arguments[#arguments + 1] = request.kwargs
        end
        return value(unpack(arguments))
    elseif op == "get" and value ~= nil and type(value) ~= "function" then
        return value
    elseif op == "set" and type(value) ~= "function" then
        attributes[name] = request.value
        return nil
    end
    error("there is no " .. tostring(op) .. " of '" .. tostring(name) .. "'", 0)
end

local function set_blob(env, text)
    env.blob.data, env.blob.size_bytes, env.blob.format = ffi.cast("const char *", text), #text, lib.FERRY_JSON
    check(env, lib.ferry_env_blob(env.handle, env.blob))
end

local function take_call(env, turn)
    local answered, text = pcall(function() return ferry.to_json(answer_call(env.attributes, read_blob(turn) or {})) end)
    if not env.handle then
        return -- the attribute has closed it
    end
    if not answered then
        check(env, lib.ferry_env_fail(env.handle, tostring(text)))
        return
    end
    set_blob(env, text)
    check(env, lib.ferry_env_reply(env.handle))
end

-- Waits for ever, in slices and uncompiled: only so does LuaJIT heed Ctrl-C.
local function wait_idle(env)
    local got
    repeat
        got = lib.ferry_env_wait(env.handle, SLICE_NS, env.out)
    until got ~= 0
    return got
end
jit.off(wait_idle)

local function wait_library(env, timeout_ns)
    if timeout_ns ~= FOREVER then
        return lib.ferry_env_wait(env.handle, timeout_ns, env.out)
    end
    local got = lib.ferry_env_wait(env.handle, SLICE_NS, env.out)
    return got ~= 0 and got or wait_idle(env)
end

--- Waits for the agent's next turn. Connecting happens in here, too.
-- @param seconds how long at most; 0: looks and returns; nil: for ever
-- @return nil: not yet, or the turn before is unanswered still;
--     "reset", "step" and the first row that it is about (all of them: env.due[1] to env.due[env.num_due]): answer with env:reply();
--     "left": the agent is gone, a turn that is unanswered will not be heard, and the next agent may come;
--     "closed": there will be no other. Errors if no agent can be met here.
function Env:wait(seconds)
    open_handle(self)
    -- From 2^63 on it is for ever; what is below 0, or no number, is no patience.
    local timeout_ns = (seconds == nil or seconds * 1e9 >= 2 ^ 63) and FOREVER or seconds > 0 and seconds * 1e9 or 0
    while true do
        local got = wait_library(self, timeout_ns)
        if got == 0 then
            return nil
        elseif got == lib.FERRY_ECLOSED then
            return "closed"
        end
        check(self, got)
        local turn = self.out[0]
        local kind = turn.kind
        if kind == lib.FERRY_STEP or kind == lib.FERRY_RESET then
            kind = kind == lib.FERRY_STEP and "step" or "reset"
            if take_turn(self, turn, kind) then
                return kind, self.due[1]
            end
        elseif kind == lib.FERRY_LEFT then
            self.abandoned, self.holding = self.holding or self.abandoned, false
            return "left"
        else
            take_call(self, turn)
            if not self.handle then
                return "closed"
            end
        end
    end
end

-- Whether an answer would be heard; errors if there is no turn to answer.
local function may_answer(env)
    open_handle(env)
    if not env.holding and not env.abandoned then
        error("there is no turn to answer: env:wait() gives one", 3)
    end
    env.abandoned = false
    return env.holding
end

local function write_infos(env, turn, row)
    for i = 1, #env.infos do
        local leaf = env.infos[i]
        local holder = leaf.holders[row.number]
        local value = holder[leaf.key]
        if value ~= nil then
            write_leaf(turn, leaf, row.number, value)
            turn.present[leaf.index][row.number] = 1
            holder[leaf.key] = nil
        end
    end
end

-- What is left in row.info is said in words.
local function write_notes(env)
    local notes
    for k = 1, env.num_due do
        local row = env.due[k]
        if next(row.info) ~= nil then
            if #env.rows == 1 then
                notes = row.info
            else
                notes = notes or {}
                notes[tostring(row.number)] = row.info -- a number would make it a list
            end
        end
    end
    if notes then
        set_blob(env, ferry.to_json(notes))
    end
end

--- Answers the turn with what the rows hold: observation, reward, terminated, truncated, info. Never waits. After an error (a value that
-- its space cannot hold) the turn stands.
-- Reward, flags and info begin anew with each turn; what is not in an info's space goes over as JSON.
function Env:reply()
    if not may_answer(self) then
        return
    end
    local turn = self.held[0]
    for k = 1, self.num_due do
        local row = self.due[k]
        for i = 1, #self.observations do
            local leaf = self.observations[i]
            write_leaf(turn, leaf, row.number, leaf.holders[row.number][leaf.key])
        end
        turn.reward[row.number] = row.reward
        turn.terminated[row.number] = row.terminated and 1 or 0
        turn.truncated[row.number] = row.truncated and 1 or 0
        write_infos(self, turn, row)
    end
    write_notes(self)
    self.holding = false
    check(self, lib.ferry_env_reply(self.handle))
end

--- Answers the turn with a failure instead, in words; the agent must reset next.
function Env:fail(text)
    if may_answer(self) then
        local err = lib.ferry_env_fail(self.handle, tostring(text)) -- error objects need not be strings
        self.holding = false
        check(self, err)
    end
end

--- Iterates over turns, for ever: `for kind, row in env:turns()` waits, yields each row of a turn, and answers after the last.
-- Ends when there will be no other agent. A turn that env:fail() has answered is left at once.
function Env:turns()
    local k = 0
    return function()
        if self.holding and k < self.num_due then
            k = k + 1
            return self.kind, self.due[k]
        elseif self.holding then
            self:reply()
        end
        while true do
            local kind, row = self:wait()
            if kind == "closed" then
                return nil
            elseif kind ~= "left" then
                k = 1
                return kind, row
            end
        end
    end
end

--- Says goodbye and gives up the address. Happens by itself when the env is collected.
function Env:close()
    if self.handle then
        lib.ferry_env_close(ffi.gc(self.handle, nil))
        self.handle, self.holding, self.abandoned = nil, false, false
    end
end

return ferry
