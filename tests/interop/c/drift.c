/* The scenario of tests/interop/README.md in C. */
#include <libferry.h>

#include <math.h>
#include <stdio.h>

enum { POSITION, TICKS, MOVE, PUSH, ENERGY, NUM_FIELDS };

int main(void) {
    static const char language[] = "{\"language\": \"c\"}";
    const ferry_field fields[NUM_FIELDS] = {
        [POSITION] = {.path = "position", .role = FERRY_OBSERVATION, .ndim = 1, .shape = {2}, .low = -10, .high = 10},
        [TICKS] = {.path = "ticks", .role = FERRY_OBSERVATION, .kind = FERRY_DISCRETE, .n = 101},
        [MOVE] = {.path = "move", .role = FERRY_ACTION, .kind = FERRY_DISCRETE, .n = 3, .start = -1},
        [PUSH] = {.path = "push", .role = FERRY_ACTION, .ndim = 1, .shape = {2}, .low = -1, .high = 1},
        [ENERGY] = {.path = "energy", .role = FERRY_INFO, .dtype = FERRY_F64, .high = INFINITY},
    };
    const ferry_env_desc desc = {.struct_size = sizeof desc, .fields = fields, .num_fields = NUM_FIELDS};
    const ferry_blob info = {.data = language, .size_bytes = sizeof language - 1, .format = FERRY_JSON};
    float x = 0, y = 0;
    int64_t ticks = 0;
    ferry_env *env;
    ferry_why why;
    const ferry_turn *turn;
    if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "drift: %s\n", why.text), 1;
    while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
        if (turn->kind == FERRY_LEFT) continue;
        if (turn->kind == FERRY_RESET) {
            int64_t seed = turn->seed[0];
            if (turn->blob.size_bytes > 2) { /* more than {} */
                ferry_env_fail(env, "drift takes no options");
                continue;
            }
            x = seed < 0 ? 0 : (float)(seed % 7 - 3), y = seed < 0 ? 0 : (float)(seed % 5 - 2), ticks = 0;
            ferry_env_blob(env, &info);
        } else {
            const float *push = turn->data[PUSH];
            x += 0.5f * (float)*(const int64_t *)turn->data[MOVE] + push[0], y += push[1], ticks++;
            turn->terminated[0] = fabsf(x) > 8 || fabsf(y) > 8;
            turn->truncated[0] = ticks == 100;
            turn->reward[0] = -((double)fabsf(x) + (double)fabsf(y));
        }
        ((float *)turn->data[POSITION])[0] = x, ((float *)turn->data[POSITION])[1] = y;
        *(int64_t *)turn->data[TICKS] = ticks;
        *(double *)turn->data[ENERGY] = (double)x * x + (double)y * y;
        turn->present[ENERGY][0] = 1;
        ferry_env_reply(env);
    }
    ferry_env_why(env, &why);
    ferry_env_close(env);
    return fprintf(stderr, "drift: %s\n", why.text), 1;
}
