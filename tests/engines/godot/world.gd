extends Node
## Counts its ticks.

var ticks := 0


func _physics_process(_delta: float) -> void:
	ticks += 1
