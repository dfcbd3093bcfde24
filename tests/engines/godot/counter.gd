extends FerryEnvironment
## Counts the ticks of its world. A reset may take some, may fail, and may close the place for a while; an episode has 10.

var ticks := 0
var applied := 0
var all_ticks := 0
var seeds: Array[int] = []
var joined := 0
var left := 0
var episodes := 0
var rest := 0


func _ready() -> void:
	action_repeat = maxi(1, int(OS.get_environment("ACTION_REPEAT")))
	max_episode_steps = int(OS.get_environment("MAX_EPISODE_STEPS"))
	agent_joined.connect(func(pid: int) -> void: joined += int(pid > 0))
	agent_left.connect(func(_reason: String) -> void: left += 1)
	episode_started.connect(func() -> void: episodes += 1)


func _physics_process(_delta: float) -> void:
	all_ticks += int(not get_tree().paused)
	ticks += int(not get_tree().paused)
	rest -= 1
	if rest == 0:
		enabled = true


func _get_observation_space() -> Dictionary:
	return FerrySpace.multi_discrete([1000, 1000])


func _get_action_space() -> Dictionary:
	return FerrySpace.discrete(2)


func _reset(agent_seed: int, options: Dictionary) -> void:
	for i in int(options.get("frames", 0)):
		await get_tree().physics_frame
	if options.has("fail"):
		fail(options.fail)
	if options.has("rest"):
		rest = int(options.rest)
		enabled = false
	seeds.append(agent_seed)
	ticks = 0
	applied = 0


func _apply_action(_action) -> void:
	applied += 1


func _get_observation() -> Array:
	return [ticks, applied]


func _get_reward() -> float:
	return 1.0


func _is_terminated() -> bool:
	return ticks >= 10


func _get_info() -> Dictionary:
	return {"seeds": seeds, "all_ticks": all_ticks, "joined": joined, "left": left, "episodes": episodes}
