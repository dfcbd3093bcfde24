/* An environment of several rows in C, with typed infos and infos in blobs that come and go: typed_rows ADDRESS ROWS. Its episodes end as the
 * actions say; row_envs.Typed is the same in Python. */
#include <libferry.h>
#include <stdio.h>
#include <stdlib.h>

enum { OBSERVATION, ACTION, SCORE, PAIR, NUM_FIELDS, MAX_ROWS = 8 };
enum { TERMINATE = 1, TRUNCATE, END_BOTH };

/* Adds what a row says in the blob of this turn. */
static size_t add_note(char *text, size_t used, size_t room, uint32_t num_rows, uint32_t row, int time) {
    if (num_rows == 1) return (size_t)snprintf(text, room, "{\"note\": %d}", time);
    return used + (size_t)snprintf(text + used, room - used, "%s\"%u\": {\"note\": %d}", used > 0 ? ", " : "{", row, time);
}

static void play_row(const ferry_turn *turn, uint32_t row, int *time) {
    double *observation = (double *)turn->data[OBSERVATION] + 2 * row;
    int64_t action = 0;
    if (turn->kind == FERRY_RESET) *time = 0, observation[0] = (double)turn->seed[row];
    else {
        action = ((const int64_t *)turn->data[ACTION])[row];
        ++*time, observation[0] = (double)action;
        turn->reward[row] = *time / 2.0;
        turn->terminated[row] = action == TERMINATE || action == END_BOTH, turn->truncated[row] = action == TRUNCATE || action == END_BOTH;
    }
    observation[1] = *time;
    if (*time % 2 == 0) ((float *)turn->data[SCORE])[row] = (float)*time / 3, turn->present[SCORE][row] = 1;
    if (*time % 3 == 0) {
        int64_t *pair = (int64_t *)turn->data[PAIR] + 2 * row;
        pair[0] = action, pair[1] = -*time, turn->present[PAIR][row] = 1;
    }
}

int main(int argc, char **argv) {
    uint32_t num_rows = argc > 2 ? (uint32_t)atoi(argv[2]) : 1, i;
    int times[MAX_ROWS] = {0};
    char text[1024];
    ferry_field fields[NUM_FIELDS] = {{0}};
    ferry_env_desc desc = {0};
    ferry_env *env;
    ferry_why why;
    const ferry_turn *turn;
    if (argc < 3 || num_rows > MAX_ROWS) return 2;
    fields[OBSERVATION].dtype = FERRY_F64, fields[OBSERVATION].ndim = 1, fields[OBSERVATION].shape[0] = 2;
    fields[ACTION].role = FERRY_ACTION, fields[ACTION].kind = FERRY_DISCRETE, fields[ACTION].n = 4;
    fields[SCORE].role = FERRY_INFO, fields[SCORE].path = "score";
    fields[PAIR].role = FERRY_INFO, fields[PAIR].path = "pair", fields[PAIR].dtype = FERRY_I64;
    fields[PAIR].ndim = 1, fields[PAIR].shape[0] = 2;
    desc.struct_size = sizeof desc, desc.address = argv[1], desc.num_rows = num_rows, desc.fields = fields, desc.num_fields = NUM_FIELDS;
    if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "%s\n", why.text), 1;
    while (ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
        size_t used = 0;
        if (turn->kind == FERRY_LEFT) continue;
        for (i = 0; i < turn->num_rows; i++) {
            uint32_t row = turn->rows[i];
            play_row(turn, row, &times[row]);
            if (times[row] % 4 == 1) used = add_note(text, used, sizeof text, num_rows, row, times[row]);
        }
        if (used > 0) {
            ferry_blob blob = {text, 0, FERRY_JSON, 0};
            if (num_rows > 1) text[used++] = '}';
            blob.size_bytes = used;
            ferry_env_blob(env, &blob);
        }
        ferry_env_reply(env);
    }
    ferry_env_close(env);
    return 0;
}
