extends FerryEnvironment
## One of two nodes that observe the same world: its ticks, and what this node's agent has done in it.

var applied := 0

@onready var world := get_parent()


func _get_observation_space() -> Array:
	return [FerrySpace.discrete(1_000_000_000), FerrySpace.discrete(1000)]


func _get_action_space() -> Dictionary:
	return FerrySpace.discrete(2)


func _reset(_agent_seed: int, _options: Dictionary) -> void:
	applied = 0


func _apply_action(_action) -> void:
	applied += 1


func _get_observation() -> Array:
	return [world.ticks, applied]
