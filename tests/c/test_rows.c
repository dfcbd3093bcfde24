/* Many rows in one environment: all autoreset modes against a model, lists of rows, limits of steps, failures, joined blobs, the bell. */
#include "check.h"

enum { ROWS = 5, SAY = 14 }; /* the action SAY makes the program send an info */

typedef struct rows_options {
    const char *address;
    uint32_t max_episode_steps, tick_together;
    int rows, big; /* big: infos larger than the room in the region */
} rows_options;

static size_t write_info(char *text, size_t room, const char *what, uint32_t row, int big) {
    size_t bytes = (size_t)snprintf(text, room, "{\"%u\": {\"%s\": 1}}", row, what);
    while (big && bytes < room) text[bytes++] = ' ';
    return bytes;
}

/* Row r's episodes have r + 2 steps: those of even rows end terminated, of odd ones truncated. The observation is {seed, steps, action}. */
static int serve_rows(void *argument) {
    const rows_options *options = (const rows_options *)argument;
    static char text[40000];
    double seed[ROWS] = {0}, steps[ROWS] = {0};
    int playing[ROWS] = {0}, over = 0;
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    const ferry_turn *turn;
    small_fields(fields);
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = options->address, desc.fields = fields, desc.num_fields = NUM_FIELDS;
    desc.num_rows = (uint32_t)options->rows, desc.max_episode_steps = options->max_episode_steps;
    desc.rows_tick_together = options->tick_together;
    if (ferry_env_open(&desc, &env, &why) < 0) return fprintf(stderr, "%s\n", why.text), 1;
    while (!over && ferry_env_wait(env, FERRY_FOREVER, &turn) > 0) {
        uint32_t i, row, said = UINT32_MAX;
        if (turn->kind == FERRY_LEFT) {
            over = 1;
            continue;
        }
        for (i = 0; i < turn->num_rows; i++) {
            double *observation;
            int64_t action = -1;
            row = turn->rows[i];
            CHECK(row < (uint32_t)options->rows && (i == 0 || row > turn->rows[i - 1]));
            observation = (double *)turn->data[OBSERVATION] + 3 * row;
            if (turn->kind == FERRY_RESET) {
                seed[row] = (double)turn->seed[row], steps[row] = 0, playing[row] = 1;
                turn->reward[row] = 77, turn->terminated[row] = 1; /* which a RESET has not, whatever is written */
                if (turn->seed[row] == -1 && turn->episode[row] > 1) said = row;
            } else {
                action = ((const int64_t *)turn->data[ACTION])[row];
                CHECK(playing[row] || options->tick_together);
                steps[row]++;
                turn->reward[row] = steps[row] * 10 + row;
                turn->terminated[row] = steps[row] >= row + 2 && row % 2 == 0, turn->truncated[row] = steps[row] >= row + 2 && row % 2 == 1;
                if (steps[row] >= row + 2) playing[row] = 0;
                if ((int)steps[row] % 2 == 0)
                    ((float *)turn->data[SCORE])[row] = (float)(steps[row] + 100 * row), turn->present[SCORE][row] = 1;
                if (action == SAY) said = row;
            }
            observation[0] = seed[row], observation[1] = steps[row], observation[2] = (double)action;
        }
        if (said != UINT32_MAX) {
            ferry_blob blob = {text, 0, FERRY_JSON, 0};
            blob.size_bytes = write_info(text, sizeof text, turn->kind == FERRY_STEP ? "step" : "reset", said, options->big);
            CHECK(ferry_env_blob(env, &blob) == 0);
        }
        if (turn->kind == FERRY_STEP && ((const int64_t *)turn->data[ACTION])[turn->rows[0]] == 13)
            CHECK(ferry_env_fail(env, "row broke") == 0);
        else CHECK(ferry_env_reply(env) == 0);
    }
    ferry_env_close(env);
    return 0;
}

static ferry_agent *open_rows_agent(const char *address, uint32_t autoreset, ferry_bell *bell) {
    ferry_agent_desc desc;
    ferry_agent *agent;
    ferry_why why;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = address, desc.autoreset = autoreset, desc.bell = bell;
    CHECK(ferry_agent_open(&desc, &agent, &why) == 0);
    CHECK(ferry_agent_connect(agent, 10 * SECOND) == 1);
    return agent;
}

static const ferry_turn *reset_rows(ferry_agent *agent, const uint32_t *rows, uint32_t count) {
    ferry_turn *turn = ferry_agent_turn(agent);
    uint32_t i;
    if (rows != NULL) turn->rows = rows, turn->num_rows = count;
    turn->kind = FERRY_RESET;
    for (i = 0; i < turn->num_rows; i++) turn->seed[turn->rows[i]] = 100 + turn->rows[i];
    CHECK(ferry_agent_send(agent) == 0);
    return take_answer(agent);
}

static void send_step(ferry_agent *agent, const uint32_t *rows, uint32_t count, int64_t action) {
    ferry_turn *turn = ferry_agent_turn(agent);
    uint32_t i;
    if (rows != NULL) turn->rows = rows, turn->num_rows = count;
    turn->kind = FERRY_STEP;
    for (i = 0; i < turn->num_rows; i++) ((int64_t *)turn->data[ACTION])[turn->rows[i]] = action;
    CHECK(ferry_agent_send(agent) == 0);
}

static const ferry_turn *step_rows(ferry_agent *agent, const uint32_t *rows, uint32_t count, int64_t action) {
    send_step(agent, rows, count, action);
    return take_answer(agent);
}

static void check_row(const ferry_turn *answer, void *const *data, uint32_t row, double seed, double steps, double action) {
    const double *observation = (const double *)data[OBSERVATION] + 3 * row;
    CHECK(answer->status[row] == FERRY_ROW_OK);
    CHECK(observation[0] == seed && observation[1] == steps && observation[2] == action);
}

/* One run of a mode, against a model of it. */
static void play_mode(uint32_t autoreset, uint32_t tick_together, uint32_t max_steps) {
    rows_options options = {"rows", 0, 0, ROWS, 0};
    double seed[ROWS], steps[ROWS];
    uint64_t episode[ROWS];
    int ended[ROWS] = {0}, t;
    uint32_t row, ends = 0;
    pid_t server;
    ferry_agent *agent;
    const ferry_turn *answer;
    options.tick_together = tick_together, options.max_episode_steps = max_steps;
    server = start_child(serve_rows, &options);
    agent = open_rows_agent("rows", autoreset, NULL);
    CHECK(ferry_agent_env(agent)->num_rows == ROWS && ferry_agent_env(agent)->rows_tick_together == tick_together);
    answer = reset_rows(agent, NULL, 0);
    CHECK(answer->num_rows == ROWS);
    for (row = 0; row < ROWS; row++) {
        seed[row] = 100 + row, steps[row] = 0, episode[row] = 1;
        check_row(answer, answer->data, row, seed[row], 0, -1);
        CHECK(answer->reward[row] == 0 && !answer->terminated[row] && !answer->truncated[row]);
    }
    for (t = 0; t < 400; t++) {
        int64_t action = 10 + t % 3;
        answer = step_rows(agent, NULL, 0, action);
        for (row = 0; row < ROWS; row++) {
            uint32_t length = max_steps != 0 && max_steps < row + 2 ? max_steps : row + 2;
            int next_step = autoreset == FERRY_AUTORESET_NEXT_STEP && ended[row], over;
            if (next_step) {
                seed[row] = -1, steps[row] = 0, ended[row] = 0, episode[row]++;
                check_row(answer, answer->data, row, -1, 0, -1);
                CHECK(answer->reward[row] == 0 && !answer->terminated[row] && !answer->truncated[row] && !answer->present[SCORE][row]);
                CHECK(answer->episode[row] == episode[row]);
                continue;
            }
            steps[row]++;
            over = steps[row] >= length;
            CHECK(answer->reward[row] == steps[row] * 10 + row);
            CHECK(answer->terminated[row] == (steps[row] >= row + 2 && row % 2 == 0));
            CHECK(answer->truncated[row] == ((steps[row] >= row + 2 && row % 2 == 1) || (max_steps != 0 && steps[row] >= max_steps)));
            ended[row] = over, ends += (uint32_t)over;
            if (over && autoreset == FERRY_AUTORESET_SAME_STEP) {
                check_row(answer, answer->final_data, row, seed[row], steps[row], (double)action);
                CHECK(answer->final_present[SCORE][row] == ((int)steps[row] % 2 == 0));
                CHECK(!answer->final_present[SCORE][row] || ((float *)answer->final_data[SCORE])[row] == (float)(steps[row] + 100 * row));
                seed[row] = -1, steps[row] = 0, episode[row]++;
                check_row(answer, answer->data, row, -1, 0, -1);
                CHECK(!answer->present[SCORE][row]);
            } else {
                check_row(answer, answer->data, row, seed[row], steps[row], (double)action);
                CHECK(answer->present[SCORE][row] == ((int)steps[row] % 2 == 0));
            }
            CHECK(answer->episode[row] == episode[row]);
        }
    }
    CHECK(ends > 300);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_autoreset_is_the_librarys_work(void) {
    play_mode(FERRY_AUTORESET_NEXT_STEP, 0, 0);
    play_mode(FERRY_AUTORESET_NEXT_STEP, 1, 0);
    play_mode(FERRY_AUTORESET_SAME_STEP, 0, 0);
    play_mode(FERRY_AUTORESET_SAME_STEP, 1, 0);
    play_mode(FERRY_AUTORESET_NEXT_STEP, 0, 3);
    play_mode(FERRY_AUTORESET_SAME_STEP, 0, 3);
}

static void test_a_turn_may_be_about_some_rows(void) {
    static const uint32_t some[] = {1, 4}, others[] = {0, 2, 3}, wrong[] = {4, 1}, twice[] = {2, 2}, beyond[] = {1, ROWS};
    rows_options options = {"rows", 0, 0, ROWS, 0};
    pid_t server = start_child(serve_rows, &options);
    ferry_agent *agent = open_rows_agent("rows", FERRY_AUTORESET_DISABLED, NULL);
    ferry_turn *turn;
    const ferry_turn *answer = reset_rows(agent, some, 2);
    uint32_t row;
    CHECK(answer->num_rows == 2 && memcmp(answer->rows, some, sizeof some) == 0);
    check_row(answer, answer->data, 1, 101, 0, -1);
    answer = step_rows(agent, NULL, 0, 10);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED && memmem(answer->blob.data, answer->blob.size_bytes, "row 0", 5) != NULL);
    answer = step_rows(agent, some, 2, 11);
    check_row(answer, answer->data, 4, 104, 1, 11);
    answer = reset_rows(agent, others, 3);
    check_row(answer, answer->data, 3, 103, 0, -1);
    check_row(answer, answer->data, 1, 101, 1, 11); /* as it was */
    CHECK(answer->reward[1] == 0);
    answer = step_rows(agent, others, 3, 12);
    for (row = 0; row < ROWS; row++) check_row(answer, answer->data, row, 100 + row, 1, row == 1 || row == 4 ? 11 : 12);
    answer = step_rows(agent, NULL, 0, 10);
    for (row = 0; row < ROWS; row++) check_row(answer, answer->data, row, 100 + row, 2, 10);
    turn = ferry_agent_turn(agent);
    ((int64_t *)turn->data[ACTION])[3] = 99;
    turn->kind = FERRY_STEP;
    CHECK(ferry_agent_send(agent) == 0);
    answer = take_answer(agent);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED && memmem(answer->blob.data, answer->blob.size_bytes, "(row 3)", 7) != NULL);
    answer = reset_rows(agent, some, 2);
    for (row = 0; row < ROWS; row++) /* a refusal changes nothing */
        if (row == 1 || row == 4) check_row(answer, answer->data, row, 100 + row, 0, -1);
        else check_row(answer, answer->data, row, 100 + row, 2, 10);
    turn = ferry_agent_turn(agent);
    turn->kind = FERRY_STEP, turn->num_rows = 2, turn->rows = wrong;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    turn->rows = twice;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    turn->rows = beyond;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    turn->rows = some, turn->num_rows = 0;
    CHECK(ferry_agent_send(agent) == FERRY_EINVAL);
    turn->num_rows = 2;
    CHECK(ferry_agent_send(agent) == 0);
    answer = take_answer(agent);
    CHECK(answer->num_rows == 2 && memcmp(answer->rows, some, sizeof some) == 0);
    check_row(answer, answer->data, 1, 101, 1, 10);
    answer = reset_rows(agent, NULL, 0);
    CHECK(answer->num_rows == ROWS && answer->rows[0] == 0 && answer->rows[ROWS - 1] == ROWS - 1);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_rows_that_tick_together_are_stepped_together(void) {
    static const uint32_t some[] = {1, 4};
    rows_options options = {"rows", 0, 1, ROWS, 0};
    pid_t server = start_child(serve_rows, &options);
    ferry_agent *agent = open_rows_agent("rows", FERRY_AUTORESET_DISABLED, NULL);
    const ferry_turn *answer;
    reset_rows(agent, NULL, 0);
    answer = step_rows(agent, some, 2, 10);
    CHECK(answer->status[0] == FERRY_ROW_REFUSED && memmem(answer->blob.data, answer->blob.size_bytes, "tick together", 13) != NULL);
    answer = reset_rows(agent, some, 2);
    check_row(answer, answer->data, 1, 101, 0, -1);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void test_a_failure_ends_all_episodes(void) {
    rows_options options = {"rows", 0, 0, ROWS, 0};
    pid_t server = start_child(serve_rows, &options);
    ferry_agent *agent = open_rows_agent("rows", FERRY_AUTORESET_SAME_STEP, NULL);
    const ferry_turn *answer;
    reset_rows(agent, NULL, 0);
    answer = step_rows(agent, NULL, 0, 13);
    CHECK(answer->status[0] == FERRY_ROW_FAILED && answer->status[ROWS - 1] == FERRY_ROW_FAILED);
    CHECK(answer->blob.format == FERRY_TEXT && answer->blob.size_bytes == 9);
    CHECK(step_rows(agent, NULL, 0, 10)->status[0] == FERRY_ROW_REFUSED);
    CHECK(reset_rows(agent, NULL, 0)->status[0] == FERRY_ROW_OK);
    CHECK(step_rows(agent, NULL, 0, 10)->status[0] == FERRY_ROW_OK);
    ferry_agent_close(agent);
    CHECK(end_child(server) == 0);
}

static void check_blob(const ferry_blob *blob, const char *text) {
    if (text == NULL) CHECK(blob->format == FERRY_NONE);
    else CHECK(blob->format == FERRY_JSON && blob->size_bytes >= strlen(text) && memcmp(blob->data, text, strlen(text)) == 0);
}

/* What is said to the STEP and to the RESET of one turn arrives as two blobs, whichever of them there are, small and large. */
static void test_both_parts_of_a_turn_have_their_info(void) {
    int big;
    for (big = 0; big < 2; big++) {
        rows_options options = {"rows", 0, 0, 1, 0};
        pid_t server;
        ferry_agent *agent;
        const ferry_turn *answer;
        options.big = big;
        server = start_child(serve_rows, &options);
        agent = open_rows_agent("rows", FERRY_AUTORESET_SAME_STEP, NULL);
        reset_rows(agent, NULL, 0);
        answer = step_rows(agent, NULL, 0, SAY); /* no end: only the STEP's */
        check_blob(&answer->step_blob, NULL), check_blob(&answer->blob, "{\"0\": {\"step\": 1}}");
        answer = step_rows(agent, NULL, 0, SAY); /* the end: both */
        CHECK(answer->terminated[0]);
        check_blob(&answer->step_blob, "{\"0\": {\"step\": 1}}"), check_blob(&answer->blob, "{\"0\": {\"reset\": 1}}");
        step_rows(agent, NULL, 0, 10);
        answer = step_rows(agent, NULL, 0, 10); /* only the RESET's */
        check_blob(&answer->step_blob, NULL), check_blob(&answer->blob, "{\"0\": {\"reset\": 1}}");
        answer = step_rows(agent, NULL, 0, 10);
        check_blob(&answer->step_blob, NULL), check_blob(&answer->blob, NULL);
        ferry_agent_close(agent);
        CHECK(end_child(server) == 0);
    }
}

static void test_the_bell_rings_for_whoever_is_ready(void) {
    enum { AGENTS = 6 };
    static const char *const names[AGENTS] = {"a", "b", "c", "d", "e", "f"};
    rows_options options[AGENTS];
    pid_t servers[AGENTS];
    ferry_agent *agents[AGENTS], *stranger;
    ferry_bell *bell;
    ferry_why why;
    uint8_t ready[AGENTS];
    const ferry_turn *answer;
    int i, t, got;
    CHECK(ferry_bell_open(&bell, &why) == 0);
    for (i = 0; i < AGENTS; i++) {
        memset(&options[i], 0, sizeof options[i]);
        options[i].address = names[i], options[i].rows = 1;
        servers[i] = start_child(serve_rows, &options[i]);
        agents[i] = open_rows_agent(names[i], FERRY_AUTORESET_NEXT_STEP, bell);
        reset_rows(agents[i], NULL, 0);
    }
    for (t = 0; t < 300; t++) {
        int taken[AGENTS] = {0}, left = AGENTS;
        for (i = 0; i < AGENTS; i++) send_step(agents[i], NULL, 0, 10);
        while (left > 0) {
            uint32_t want = left < 2 ? 1 : 2;
            ferry_agent *waiting[AGENTS];
            int which[AGENTS], count = 0;
            for (i = 0; i < AGENTS; i++)
                if (!taken[i]) which[count] = i, waiting[count++] = agents[i];
            got = ferry_agent_wait_any(bell, waiting, (uint32_t)count, want, 10 * SECOND, ready);
            CHECK(got >= (int)want);
            for (i = 0; i < count; i++)
                if (ready[i]) {
                    CHECK(ferry_agent_wait(waiting[i], 0, &answer) == 1);
                    taken[which[i]] = 1, left--;
                }
        }
    }
    /* Who owes nothing is ready; who is dead too, before long. */
    CHECK(ferry_agent_wait_any(bell, agents, AGENTS, AGENTS, 0, ready) == AGENTS);
    kill(servers[2], SIGSTOP);
    send_step(agents[2], NULL, 0, 10), send_step(agents[4], NULL, 0, 10);
    CHECK(ferry_agent_wait_any(bell, agents, AGENTS, AGENTS, SECOND / 20, ready) == 0 && ready[2] == 0);
    kill(servers[2], SIGKILL);
    CHECK(ferry_agent_wait_any(bell, agents, AGENTS, AGENTS, 10 * SECOND, ready) == AGENTS);
    CHECK(ferry_agent_wait(agents[4], 0, &answer) == 1 && ferry_agent_wait(agents[2], 0, &answer) == FERRY_EPEERDEAD);
    stranger = open_agent("a", &why);
    CHECK(ferry_agent_wait_any(bell, &stranger, 1, 1, 0, ready) == FERRY_EINVAL);
    ferry_agent_close(stranger);
    for (i = 0; i < AGENTS; i++) {
        ferry_agent_close(agents[i]);
        CHECK(end_child(servers[i]) == (i == 2 ? 128 + SIGKILL : 0));
    }
    ferry_bell_close(bell);
}

static int connect_rows(void *argument) {
    char address[32];
    rows_options options = {NULL, 0, 0, 1, 0};
    snprintf(address, sizeof address, "connect:arena#%d", *(int *)argument);
    options.address = address;
    return serve_rows(&options);
}

static void test_agents_share_a_door(void) {
    enum { PLACES = 3 };
    pid_t backends[PLACES];
    ferry_agent *agents[PLACES], *stranger;
    ferry_agent_desc desc;
    ferry_why why;
    uint32_t indices = 0;
    int i, late = 7;
    for (i = 0; i < PLACES; i++) {
        memset(&desc, 0, sizeof desc);
        desc.struct_size = sizeof desc, desc.address = "serve:arena", desc.autoreset = FERRY_AUTORESET_NEXT_STEP;
        desc.beside = i > 0 ? agents[0] : NULL;
        CHECK(ferry_agent_open(&desc, &agents[i], &why) == 0);
    }
    desc.beside = NULL;
    CHECK(ferry_agent_open(&desc, &stranger, &why) == FERRY_EINUSE);
    for (i = 0; i < PLACES; i++) backends[i] = start_child(connect_rows, &i);
    for (i = 0; i < PLACES; i++) {
        CHECK(ferry_agent_connect(agents[i], 10 * SECOND) == 1);
        indices |= 1u << ferry_agent_env(agents[i])->index;
        reset_rows(agents[i], NULL, 0);
    }
    CHECK(indices == 7);
    { /* All places are taken: one more is told so. */
        ferry_env *env = open_small_env("connect:arena", &why);
        const ferry_turn *turn;
        int got = 0, t;
        for (t = 0; t < 1000 && got == 0; t++) {
            send_step(agents[0], NULL, 0, 10), take_answer(agents[0]);
            usleep(6000);
            got = ferry_env_wait(env, 0, &turn);
        }
        CHECK(got == FERRY_EBUSY);
        ferry_env_close(env);
    }
    /* The one that listened first may go first; the others go on, and a successor finds the place of one that has left. */
    ferry_agent_close(agents[0]);
    for (i = 1; i < PLACES; i++) step_rows(agents[i], NULL, 0, 10);
    ferry_agent_close(agents[1]);
    desc.beside = agents[2];
    CHECK(ferry_agent_open(&desc, &agents[0], &why) == 0);
    i = start_child(connect_rows, &late);
    CHECK(ferry_agent_connect(agents[0], 10 * SECOND) == 1 && ferry_agent_env(agents[0])->index == 7);
    ferry_agent_close(agents[2]);
    ferry_agent_close(agents[0]);
    for (late = 0; late < PLACES; late++) CHECK(end_child(backends[late]) == 0);
    CHECK(end_child(i) == 0);
    desc.beside = NULL;
    CHECK(ferry_agent_open(&desc, &stranger, &why) == 0); /* the address is free again */
    ferry_agent_close(stranger);
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_autoreset_is_the_librarys_work();
    test_a_turn_may_be_about_some_rows();
    test_rows_that_tick_together_are_stepped_together();
    test_a_failure_ends_all_episodes();
    test_both_parts_of_a_turn_have_their_info();
    test_the_bell_rings_for_whoever_is_ready();
    test_agents_share_a_door();
    end_test(directory);
    return 0;
}
