-- Nothing but physics and time.
function love.conf(t)
    for _, module in ipairs {"window", "graphics", "audio", "sound", "font", "image", "keyboard", "mouse", "joystick", "touch", "video"} do
        t.modules[module] = false
    end
end
