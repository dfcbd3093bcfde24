extends Node
## The example at the other end of godot-rl's protocol: JSON over TCP, with the trainer as the server.
##
## It looks for the trainer's answer without sleeping in between; godot-rl's own addon sleeps 10 us each time.

const MAX_STEPS := 500

var stream := StreamPeerTCP.new()
var action := PackedFloat32Array([0.0])
var steps := 0
var resets := false
var owes := false  # an answer to an action
var next_seed := 0  # of the first episode alone; -1 afterwards

@onready var agent: Node = $"../Agent"


func _ready() -> void:
	while stream.get_status() != StreamPeerTCP.STATUS_CONNECTED:  # the trainer may still be starting
		if stream.get_status() != StreamPeerTCP.STATUS_CONNECTING:
			stream.disconnect_from_host()
			stream.connect_to_host("127.0.0.1", int(OS.get_environment("PORT")))
		OS.delay_msec(10)
		stream.poll()
	stream.set_no_delay(true)


func _physics_process(_delta: float) -> void:
	if resets:
		return
	if owes:
		steps += 1
		var ended: bool = agent._is_terminated() or steps == MAX_STEPS
		send({"type": "step", "obs": [{"obs": agent._get_observation()}], "reward": [agent._get_reward()], "done": [ended]})
		owes = false
	while not owes and not resets:
		take(receive())
	if owes:
		agent._apply_action(action)


func take(message: Dictionary) -> void:
	match message.get("type", "close"):
		"handshake":
			pass
		"env_info":
			send({
				"type": "env_info",
				"n_agents": 1,
				"observation_space": [{"obs": {"space": "box", "size": [3]}}],
				"action_space": [{"turn": {"action_type": "continuous", "size": 1}}],
			})
		"reset":
			reset()
		"action":
			action = PackedFloat32Array(message.action[0].turn)
			owes = true
		"close":
			resets = true
			get_tree().quit()


func reset() -> void:
	resets = true
	await agent._reset(next_seed, {})
	next_seed = -1
	steps = 0
	send({"type": "reset", "obs": [{"obs": agent._get_observation()}]})
	resets = false


func send(message: Dictionary) -> void:
	stream.put_string(JSON.stringify(message))


func receive() -> Dictionary:
	while stream.get_available_bytes() < 4:
		stream.poll()
		if stream.get_status() != StreamPeerTCP.STATUS_CONNECTED:
			return {}
	return JSON.parse_string(stream.get_string())
