extends FerryEnvironment
## Tilts a beam so that the ball on it stays in the middle.

const HALF_LENGTH := 300.0  # of the beam, pixels
const MAX_TILT := 0.3  # radians
const TURN_RATE := 2.0  # radians a second
const MAX_SPEED := 500.0  # of the ball, pixels a second

var tilt := 0.0
var random := RandomNumberGenerator.new()

@onready var beam: AnimatableBody2D = $"../Beam"
@onready var ball: RigidBody2D = $"../Ball"
@onready var ball_at_rest := ball.position


func _get_observation_space() -> Dictionary:
	return FerrySpace.box([-2, -1, -1], [2, 1, 1])  # place and speed of the ball, tilt of the beam


func _get_action_space() -> Dictionary:
	return FerrySpace.box(-1, 1, [1])  # how fast the beam turns, and which way


func _reset(agent_seed: int, _options: Dictionary) -> void:
	if agent_seed >= 0:
		random.seed = agent_seed
	tilt = 0.0
	beam.rotation = 0.0
	var place := ball_at_rest + Vector2(random.randf_range(-0.7, 0.7) * HALF_LENGTH, 0)
	var velocity := Vector2(random.randf_range(-150, 150), 0)
	put_ball(place + Vector2(0, -200), velocity)
	await get_tree().physics_frame  # the beam has turned, and the ball is clear of it
	put_ball(place, velocity)


func _apply_action(action) -> void:
	var turn := clampf(action[0], -1.0, 1.0) * TURN_RATE * get_physics_process_delta_time()
	tilt = clampf(tilt + turn, -MAX_TILT, MAX_TILT)
	beam.rotation = tilt


func _get_observation() -> PackedFloat32Array:
	return PackedFloat32Array([
		clampf(ball_place(), -2, 2),
		clampf(ball.linear_velocity.x / MAX_SPEED, -1, 1),
		tilt / MAX_TILT,
	])


func _get_reward() -> float:
	return 1.0 - absf(ball_place())


func _is_terminated() -> bool:
	return absf(ball_place()) > 1


func ball_place() -> float:
	return (ball.position.x - ball_at_rest.x) / HALF_LENGTH


## A rigid body is the physics server's: what the node is told alone, the next tick may undo.
func put_ball(place: Vector2, velocity: Vector2) -> void:
	var body := ball.get_rid()
	PhysicsServer2D.body_set_state(body, PhysicsServer2D.BODY_STATE_TRANSFORM, Transform2D(0, place))
	PhysicsServer2D.body_set_state(body, PhysicsServer2D.BODY_STATE_LINEAR_VELOCITY, velocity)
	PhysicsServer2D.body_set_state(body, PhysicsServer2D.BODY_STATE_ANGULAR_VELOCITY, 0.0)
	ball.transform = Transform2D(0, place)
	ball.linear_velocity = velocity
