extends FerryEnvironment
## The scenario of tests/interop/README.md.

var x := 0.0
var y := 0.0
var ticks := 0
var has_begun := false


func _get_observation_space() -> Dictionary:
	return {"position": FerrySpace.box(-10, 10, [2]), "ticks": FerrySpace.discrete(101)}


func _get_action_space() -> Dictionary:
	return {"move": FerrySpace.discrete(3, -1), "push": FerrySpace.box(-1, 1, [2])}


func _get_info_space() -> Dictionary:
	return {"energy": FerrySpace.box(0, INF, [], "float64")}


func _reset(agent_seed: int, options: Dictionary) -> void:
	if not options.is_empty():
		fail("drift takes no options")
		return
	x = agent_seed % 7 - 3 if agent_seed >= 0 else 0
	y = agent_seed % 5 - 2 if agent_seed >= 0 else 0
	ticks = 0
	has_begun = true


func _apply_action(action) -> void:
	x += 0.5 * action.move + action.push[0]
	y += action.push[1]
	ticks += 1
	has_begun = false


func _get_observation() -> Dictionary:
	return {"position": [x, y], "ticks": ticks}


func _get_reward() -> float:
	return -(absf(x) + absf(y))


func _is_terminated() -> bool:
	return absf(x) > 8 or absf(y) > 8


func _is_truncated() -> bool:
	return ticks == 100


func _get_info() -> Dictionary:
	var info := {"energy": x * x + y * y}
	if has_begun:
		info.language = "godot"
	return info
