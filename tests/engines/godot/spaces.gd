extends FerryEnvironment
## Observes what it was told to do, in every kind of space.

var observation: Dictionary


func spaces() -> Dictionary:
	return {
		"box": FerrySpace.box(-1, 1, [2, 3]),
		"double": FerrySpace.box(-INF, INF, [], "float64"),
		"bytes": FerrySpace.box(0, 255, [4], "uint8"),
		"ints": FerrySpace.box([-5, 0], [5, 9], [2], "int32"),
		"long": FerrySpace.box(-100, 100, [], "int64"),
		"choice": FerrySpace.discrete(4, -2),
		"buttons": FerrySpace.multi_binary(5),
		"choices": FerrySpace.multi_discrete([2, 3, 4]),
		"inside": {"a/b": {"space": "discrete", "n": 2}, "": [FerrySpace.discrete(3), FerrySpace.box(0, 1, [1])]},
	}


func _get_observation_space() -> Dictionary:
	return spaces()


func _get_action_space() -> Dictionary:
	return spaces()


func _reset(_agent_seed: int, options: Dictionary) -> void:
	observation = {
		"box": [0, 0.5, 1, -1, true, 0.25],
		"double": 0.1,
		"bytes": PackedByteArray([1, 2, 3, 255]),
		"ints": Vector2i(5, 9),
		"long": 100,
		"choice": -2,
		"buttons": [true, false, true, 0, 1.0],
		"choices": PackedInt32Array([1, 2, 3]),
		"inside": {"": [2, [0.5]], "a/b": 1},
	}
	for key in options:
		if options[key] == null:
			observation.erase(key)
		else:
			observation[key] = options[key]


func _apply_action(action) -> void:
	observation = action


func _get_observation() -> Dictionary:
	return observation
