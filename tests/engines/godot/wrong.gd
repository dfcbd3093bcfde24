extends FerryEnvironment
## Describes what is no space: WRONG says how.


func _get_observation_space():
	var dict := {}
	var tuple := []
	match OS.get_environment("WRONG"):
		"dict":
			dict["more"] = dict
			return dict
		"tuple":
			tuple.append(tuple)
			return tuple
		"text":
			return {"€".repeat(320): 0}


func _get_action_space() -> Dictionary:
	return FerrySpace.discrete(2)


func _reset(_agent_seed: int, _options: Dictionary) -> void:
	pass


func _apply_action(_action) -> void:
	pass


func _get_observation() -> Dictionary:
	return {}
