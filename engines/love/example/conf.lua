-- A trainer that starts the game sets FERRY_ADDRESS: then there is nobody to see or hear it, unless --window is said.

local wants_window = false
for _, argument in ipairs(arg or {}) do
    wants_window = wants_window or argument == "--window"
end

--- Whether the game is played without a window, as fast as it can be.
HEADLESS = os.getenv("FERRY_ADDRESS") ~= nil and not wants_window

function love.conf(t)
    t.version = "11.4"
    t.identity = "ferry-bounce"
    t.window.title = "Bounce"
    t.window.width, t.window.height = 800, 640
    t.modules.joystick, t.modules.touch, t.modules.video = false, false, false
    if HEADLESS then
        for _, module in ipairs {"window", "graphics", "audio", "sound", "font", "image", "keyboard", "mouse"} do
            t.modules[module] = false
        end
    end
end
