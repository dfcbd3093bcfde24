extends Node
## Plays the example without Ferry: what the engine and the scene's own script take. Prints how long each block of steps took.

const MAX_STEPS := 500
const STILL := [0.0]

var action := PackedFloat32Array(STILL)
var observation: PackedFloat32Array
var steps := 0
var resets := false
var total := 0.0
var block := maxi(1, int(OS.get_environment("BLOCK")))
var left := block
var began := 0

@onready var agent: Node = $"../Agent"


func _ready() -> void:
	reset()


func _physics_process(_delta: float) -> void:
	if resets:
		return
	total += agent._get_reward()
	var ended: bool = agent._is_terminated()
	observation = agent._get_observation()
	steps += 1
	left -= 1
	if left == 0:
		var now := Time.get_ticks_usec()
		print(now - began)
		began = now
		left = block
	if ended or steps == MAX_STEPS:
		reset()
	else:
		agent._apply_action(action)


func reset() -> void:
	resets = true
	await agent._reset(-1, {})
	observation = agent._get_observation()
	steps = 0
	resets = false
	agent._apply_action(action)
