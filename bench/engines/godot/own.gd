extends Node
## Plays the example without Ferry: what the engine and the scene's own script take. Prints what is observed after the
## first steps, and then how long each block took.

const MAX_STEPS := 500
const STILL := [0.0]

var action := PackedFloat32Array(STILL)
var observation: PackedFloat32Array
var steps := 0
var resets := false
var begins := false  # an episode: there is no step yet to judge
var total := 0.0
var check := int(OS.get_environment("CHECK"))
var block := maxi(1, int(OS.get_environment("BLOCK")))
var left := block
var began := 0

@onready var agent: Node = $"../Agent"


func _ready() -> void:
	reset(0)


func _physics_process(_delta: float) -> void:
	if resets:
		return
	if begins:
		begins = false
		agent._apply_action(action)
		return
	total += agent._get_reward()
	var ended: bool = agent._is_terminated()
	observation = agent._get_observation()
	steps += 1
	if steps == check:
		print(JSON.stringify(Array(observation), "", false, true))
		check = 0
	left -= 1
	if left == 0:
		var now := Time.get_ticks_usec()
		print(now - began)
		began = now
		left = block
	if ended or steps == MAX_STEPS:
		reset(-1)
	else:
		agent._apply_action(action)


func reset(agent_seed: int) -> void:
	resets = true
	await agent._reset(agent_seed, {})
	observation = agent._get_observation()
	steps = 0
	resets = false
	begins = true
