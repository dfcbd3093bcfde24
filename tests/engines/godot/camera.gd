extends FerryEnvironment
## A square that the agent moves, as an image: drawn by the processor, or what the screen shows where there is one.

const SIZE := Vector2i(96, 64)
const SQUARE := Vector2i(8, 8)

var place := Vector2i.ZERO
var picture := Image.create(SIZE.x, SIZE.y, false, Image.FORMAT_RGB8)
var is_shown := DisplayServer.get_name() != "headless"

@onready var square := ColorRect.new()


func _ready() -> void:
	square.size = SQUARE
	square.color = Color8(255, 128, 0)
	add_child(square)


func _get_observation_space() -> Dictionary:
	return FerrySpace.image(SIZE.x, SIZE.y)


func _get_action_space() -> Dictionary:
	return FerrySpace.multi_discrete([SIZE.x - SQUARE.x, SIZE.y - SQUARE.y])


func _reset(_agent_seed: int, options: Dictionary) -> void:
	place = Vector2i.ZERO
	square.position = place
	if is_shown:  # what was drawn before is still on the screen
		await RenderingServer.frame_post_draw
		await RenderingServer.frame_post_draw
	var width := int(options.get("width", SIZE.x))
	picture = Image.create(width, SIZE.y, false, Image.FORMAT_RGBA8 if options.has("alpha") else Image.FORMAT_RGB8)


func _apply_action(action) -> void:
	place = Vector2i(action[0], action[1])
	square.position = place


func _get_observation() -> Image:
	if is_shown:
		RenderingServer.force_draw(false)
		picture = get_viewport().get_texture().get_image()
		picture.convert(Image.FORMAT_RGB8)
	else:
		picture.fill(Color.BLACK)
		picture.fill_rect(Rect2i(place, SQUARE), square.color)
	return picture
