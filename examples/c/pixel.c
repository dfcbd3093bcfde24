/* An image environment that costs nothing but its image: what a step takes here, Ferry takes.
 *
 *     pixel [--height H] [--width W] [--channels C] [--episode N] [ADDRESS]   # 84 x 84 x 4, episodes without end
 *
 * Step number k of an episode (a reset is number 0) shows one lit pixel, all channels 255, at position k * 7919 modulo
 * H * W in reading order; the reward is k. 7919 is prime, so that pages are touched far apart and no place is soon lit again.
 *
 * Ferry's observation buffers alternate: the one at hand shows what it was given two turns ago. So nothing is cleared but the
 * pixel that was lit in this very buffer; even 6 MB images are ready in no time. */
#include <libferry.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGE, ACTION, NUM_FIELDS };
enum { STRIDE = 7919, MAX_SIDE = 1 << 14 };

typedef struct canvas {
    uint8_t *pixels; /* NULL: not seen yet */
    uint64_t lit;    /* which pixel is */
} canvas;

typedef struct image {
    uint64_t num_pixels, channels;
    canvas canvases[2];
} image;

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

/* The book page of one buffer; a new buffer is painted black. */
static canvas *canvas_at(image *im, uint8_t *pixels) {
    canvas *c = &im->canvases[im->canvases[0].pixels != NULL && im->canvases[0].pixels != pixels];
    if (c->pixels != pixels) {
        memset(pixels, 0, im->num_pixels * im->channels);
        c->pixels = pixels, c->lit = 0;
    }
    return c;
}

static void light(image *im, uint8_t *pixels, uint64_t step) {
    canvas *c = canvas_at(im, pixels);
    memset(pixels + c->lit * im->channels, 0, im->channels);
    c->lit = step * STRIDE % im->num_pixels;
    memset(pixels + c->lit * im->channels, 255, im->channels);
}

static uint32_t number(const char *text, uint32_t min, uint32_t max) {
    char *end;
    long long n = strtoll(text, &end, 10);
    if (*end == '\0' && end != text && n >= min && n <= max) return (uint32_t)n;
    fprintf(stderr, "pixel: %s is no number from %u to %u\n", text, min, max);
    exit(2);
}

int main(int argc, char **argv) {
    uint32_t height = 84, width = 84, channels = 4, episode = 0;
    const char *address = "pixel";
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--height") == 0) height = number(argv[++i], 1, MAX_SIDE);
        else if (i + 1 < argc && strcmp(argv[i], "--width") == 0) width = number(argv[++i], 1, MAX_SIDE);
        else if (i + 1 < argc && strcmp(argv[i], "--channels") == 0) channels = number(argv[++i], 1, 64);
        else if (i + 1 < argc && strcmp(argv[i], "--episode") == 0) episode = number(argv[++i], 0, UINT32_MAX);
        else if (argv[i][0] != '-') address = argv[i];
        else return fprintf(stderr, "usage: pixel [--height H] [--width W] [--channels C] [--episode N] [ADDRESS]\n"), 2;
    }

    const ferry_field fields[NUM_FIELDS] = {
        [IMAGE] = {.role = FERRY_OBSERVATION, .kind = FERRY_BOX, .dtype = FERRY_U8, .ndim = 3, .shape = {height, width, channels}},
        [ACTION] = {.role = FERRY_ACTION, .kind = FERRY_DISCRETE, .n = 2}, /* both do the same */
    };
    const ferry_env_desc desc = {.struct_size = sizeof desc, .address = address, .fields = fields, .num_fields = NUM_FIELDS};
    ferry_env *env;
    ferry_why why;
    if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "pixel: %s\n", why.text), 1;
    signal(SIGINT, stop), signal(SIGTERM, stop);

    const ferry_turn *turn;
    image im = {.num_pixels = (uint64_t)height * width, .channels = channels};
    uint64_t step = 0;
    int got = 0;
    while (!stopped && (got = ferry_env_wait(env, 100000000, &turn)) >= 0) { /* 100 ms, so that a signal is heeded */
        if (got == 0) continue;
        if (turn->kind == FERRY_LEFT) {
            memset(im.canvases, 0, sizeof im.canvases); /* the next agent brings new buffers */
            continue;
        }
        step = turn->kind == FERRY_RESET ? 0 : step + 1;
        light(&im, turn->data[IMAGE], step);
        turn->reward[0] = (double)step;
        turn->truncated[0] = episode != 0 && step >= episode;
        ferry_env_reply(env);
    }
    int failed = got < 0 && got != FERRY_ECLOSED; /* an inherited connection ends with its agent */
    ferry_env_why(env, &why);
    if (failed) fprintf(stderr, "pixel: %s\n", why.text);
    ferry_env_close(env);
    return failed;
}
