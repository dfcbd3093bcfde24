#include "environment.h"
#include "space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char CLASS[] = "FerryEnvironment";

/* Node.NOTIFICATION_*, Object.NOTIFICATION_POSTINITIALIZE */
enum { POSTINITIALIZE = 0, ENTER_TREE = 10, EXIT_TREE = 11, INTERNAL_PHYSICS_PROCESS = 26 };

/* Node.PROCESS_MODE_ALWAYS */
static const int ALWAYS = 3;

/* Before all other nodes: they see the action in the tick that it is for, and nothing has moved yet since the observation. */
static const int PRIORITY = -1000;

/* Nanoseconds that a tick waits for the agent's turn: without a screen, and where somebody looks on. After that the tree is paused, and the
 * next tick waits, so that the engine hears its window and whoever wants it to quit. A quick agent never sees that happen. */
static const int64_t PATIENCE_NS = 100000000, PATIENCE_ON_SCREEN_NS = 2000000;

/* The same while nobody plays; the game goes on then. */
static const int64_t IDLE_NS = 10000000, IDLE_ON_SCREEN_NS = 0;

/* The same for a node whose agent thinks while another node's does: either may be the next. */
static const int64_t SHARED_NS = 1000000;

/* A signal's connection that ends when it has fired: Object.CONNECT_ONE_SHOT. */
static const int ONE_SHOT = 4;

typedef enum resetting {
    NO_RESET,
    RESET_QUEUED,  /* it is owed, but the script's _reset for an agent that left still runs */
    RESET_RUNS,    /* the script's _reset awaits something */
    RESET_FINISHED /* the answer is due */
} resetting;

typedef struct environment {
    GDExtensionObjectPtr object;
    int enabled;
    int64_t action_repeat, max_episode_steps;
    char *address;

    ferry_env *env;     /* NULL: not open */
    int on_screen;      /* somebody may look on */
    int has_agent;
    int thinks, plays;   /* the agent thinks, its turn is under way: as counted below */
    int in_tick, closes; /* what the script closes in a tick is closed at its end */
    field_table table;
    space observation, action, info;
    int has_info, has_reward, has_terminated, has_truncated;

    const ferry_turn *owed; /* the turn that waits for its answer, or NULL */
    resetting resetting;
    int script_resets;  /* a _reset has not come to its end, whoever asked for it */
    variant chosen;     /* the action of the step that is under way, or nil */
    int64_t ticks_left; /* of the step */
    double reward;      /* since the last answer */
    int terminated, truncated;
    trouble why;        /* what the turn fails with, or empty */
} environment;

/* Of all nodes, which share one tree: how many agents think, how many turns are under way; and whether the tree is paused for that. */
static int num_thinking, num_playing, is_paused;

/* ---- Talking to the script ------------------------------------------------------------------------------------------ */

static void warn(void *user, int level, const char *text) {
    (void)user;
    if (level >= FERRY_LOG_WARNING) godot.print_warning_with_message("Ferry", text, "FerryEnvironment", __FILE__, __LINE__, 0);
}

static variant call_self(environment *e, const string *name, const variant *const *arguments, int count) {
    variant self = variant_object(e->object), result = variant_do(&self, name, arguments, count);
    variant_drop(&self);
    return result;
}

static void report(environment *e, const char *text) {
    char node[128], line[1700];
    variant name = call_self(e, NAME(get_name), NULL, 0);
    snprintf(line, sizeof line, "Ferry: the node \"%s\" cannot be played: %s", variant_print(&name, node, sizeof node), text);
    variant_drop(&name);
    godot.print_error_with_message("FerryEnvironment", line, "FerryEnvironment", __FILE__, __LINE__, 0);
}

static void emit(environment *e, const char *name, variant argument) {
    variant signal = variant_text(name, strlen(name));
    const variant *arguments[] = {&signal, &argument};
    variant result = call_self(e, NAME(emit_signal), arguments, variant_type(&argument) == TYPE(NIL) ? 1 : 2);
    variant_drop(&result), variant_drop(&signal), variant_drop(&argument);
}

static int has(environment *e, const string *name) { return godot.object_has_script_method(e->object, name); }

/* The turn's failure: what is amiss with what a method returned, as far as there is room. */
static void blame(environment *e, const char *method, const trouble *why) {
    snprintf(e->why.text, sizeof e->why.text, "%s: %.900s", method, why->text);
    utf8_trim(e->why.text);
}

/* What a virtual method returns; nil and the turn's failure if it cannot be called. */
static variant ask(environment *e, const string *name, const char *text, const variant *const *arguments, int count) {
    variant result;
    GDExtensionCallError error;
    godot.object_call_script_method(e->object, name, (const GDExtensionConstVariantPtr *)arguments, count, &result, &error);
    if (error.error != GDEXTENSION_CALL_OK && e->why.text[0] == '\0')
        snprintf(e->why.text, sizeof e->why.text, "%s cannot be called with %d arguments of these types", text, count);
    return result;
}

#define ASK(e, name) ask(e, NAME(name), #name, NULL, 0)

static int ask_flag(environment *e, const string *name, const char *text) {
    variant flag = ask(e, name, text, NULL, 0);
    double value = 0;
    if (!variant_as_double(&flag, &value) && e->why.text[0] == '\0') snprintf(e->why.text, sizeof e->why.text, "%s returned no bool", text);
    variant_drop(&flag);
    return value != 0;
}

/* ---- Opening and closing -------------------------------------------------------------------------------------------- */

static void physics(environment *e, int on) {
    variant flag = variant_bool(on);
    const variant *arguments[] = {&flag};
    variant result = call_self(e, NAME(set_physics_process_internal), arguments, 1);
    variant_drop(&result);
}

/* Counts the node, and pauses the tree as long as agents do nothing but think: so a world with a window stands still as one without does.
 * A single turn lets the world go on, whoever else thinks: its agent waits for the world, and the others may wait for that agent. */
static void count_in(environment *e, int thinks, int plays) {
    num_thinking += thinks - e->thinks, num_playing += plays - e->plays;
    e->thinks = thinks, e->plays = plays;
    int on = num_thinking > 0 && num_playing == 0;
    if (is_paused == on) return;
    is_paused = on;
    variant tree = call_self(e, NAME(get_tree), NULL, 0), flag = variant_bool(on);
    const variant *arguments[] = {&flag};
    variant result = variant_do(&tree, NAME(set_pause), arguments, 1);
    variant_drop(&result), variant_drop(&tree);
}

static int is_headless(void) {
    string name = name_new("DisplayServer");
    char text[32];
    variant server = variant_object(godot.global_get_singleton(&name)), shown = variant_do(&server, NAME(get_name), NULL, 0);
    variant_print(&shown, text, sizeof text);
    name_drop(&name), variant_drop(&server), variant_drop(&shown);
    return strcmp(text, "headless") == 0;
}

/* The spaces that the script describes. 0 and the trouble if it does not. */
static int describe(environment *e) {
    struct {
        const string *name;
        const char *text;
        space *out;
        ferry_role role;
    } wanted[] = {
        {NAME(_get_observation_space), "_get_observation_space", &e->observation, FERRY_OBSERVATION},
        {NAME(_get_action_space), "_get_action_space", &e->action, FERRY_ACTION},
        {NAME(_get_info_space), "_get_info_space", &e->info, FERRY_INFO},
    };
    const string *required[] = {NAME(_get_observation_space), NAME(_get_action_space), NAME(_get_observation), NAME(_apply_action),
                                NAME(_reset)};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        if (has(e, required[i])) continue;
        snprintf(e->why.text, sizeof e->why.text,
                 "its script must have _get_observation_space, _get_action_space, _reset, _apply_action and _get_observation");
        return 0;
    }
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!has(e, wanted[i].name)) continue;
        variant about = ask(e, wanted[i].name, wanted[i].text, NULL, 0);
        trouble why = {{0}};
        int right = space_describe(wanted[i].out, &e->table, &about, wanted[i].role, &why);
        if (right && wanted[i].role == FERRY_INFO && !e->info.is_dict)
            right = 0, snprintf(why.text, sizeof why.text, "it is no Dictionary from keys to spaces");
        variant_drop(&about);
        if (!right) return blame(e, wanted[i].text, &why), 0;
    }
    return 1;
}

static void abandon(environment *e) {
    variant_drop(&e->chosen);
    e->chosen = variant_nil();
    e->owed = NULL, e->resetting = NO_RESET, e->terminated = e->truncated = 0, e->reward = 0, e->why.text[0] = '\0';
}

static void close_env(environment *e) {
    e->closes = e->in_tick;
    if (e->closes) return;
    count_in(e, 0, 0);
    ferry_env_close(e->env);
    e->env = NULL, e->has_agent = 0;
    abandon(e);
    space_free(&e->observation), space_free(&e->action), space_free(&e->info);
    field_table_free(&e->table);
}

/* It cannot go on. A game that a trainer has launched ends with it: nobody else will. */
static void give_up(environment *e, const char *text, int code) {
    if (code != FERRY_ECLOSED) report(e, text);
    emit(e, "failed", variant_text(text, strlen(text)));
    physics(e, 0);
    e->closes = 1;
    if (getenv("FERRY_ADDRESS") == NULL) return;
    variant tree = call_self(e, NAME(get_tree), NULL, 0), exit_code = variant_int(code != FERRY_ECLOSED);
    const variant *arguments[] = {&exit_code};
    variant result = variant_do(&tree, NAME(quit), arguments, 1);
    variant_drop(&result), variant_drop(&tree);
}

/* 0 if it is not open now. */
static int open_env(environment *e) {
    if (e->address[0] == '\0' && getenv("FERRY_ADDRESS") == NULL) return physics(e, 0), 0; /* an ordinary game, that nobody trains in */
    if (!describe(e)) {
        char text[sizeof e->why.text];
        memcpy(text, e->why.text, sizeof text);
        return give_up(e, text, FERRY_ESPEC), 0;
    }
    e->has_info = has(e, NAME(_get_info)), e->has_reward = has(e, NAME(_get_reward));
    e->has_terminated = has(e, NAME(_is_terminated)), e->has_truncated = has(e, NAME(_is_truncated));
    e->on_screen = !is_headless();
    ferry_env_desc desc = {.struct_size = sizeof desc, .address = e->address[0] != '\0' ? e->address : NULL};
    desc.fields = e->table.fields, desc.num_fields = e->table.num_fields;
    desc.max_episode_steps = (uint32_t)e->max_episode_steps, desc.log = warn;
    ferry_why why;
    int code = ferry_env_open(&desc, &e->env, &why);
    if (code < 0) return give_up(e, why.text, code), 0;
    return 1;
}

/* ---- Turns ---------------------------------------------------------------------------------------------------------- */

/* The info of an answer: what has a field goes there, the rest is told as JSON. 0 and the trouble if it is not right. */
static int give_info(environment *e) {
    variant given = ASK(e, _get_info), rest, text;
    int64_t count = variant_count(&given), found = 0;
    int right = variant_type(&given) == TYPE(DICTIONARY);
    if (!right && e->why.text[0] == '\0') snprintf(e->why.text, sizeof e->why.text, "_get_info returned no Dictionary");
    for (uint32_t i = 0; right && i < e->info.num_children; i++) {
        const space *child = &e->info.children[i];
        const variant *value = variant_at(&given, &child->key);
        if (value == NULL) continue;
        right = space_write(child, &e->table, e->owed, value, &e->why);
        found++;
    }
    if (right && found < count) {
        rest = variant_do(&given, NAME(duplicate), NULL, 0);
        for (uint32_t i = 0; i < e->info.num_children; i++) {
            const variant *arguments[] = {&e->info.children[i].key};
            variant result = variant_do(&rest, NAME(erase), arguments, 1);
            variant_drop(&result);
        }
        text = json_print(&rest);
        size_t length = 0;
        char *utf8 = variant_utf8(&text, &length);
        ferry_blob blob = {.data = utf8, .size_bytes = length, .format = FERRY_JSON};
        int code = utf8 != NULL ? ferry_env_blob(e->env, &blob) : FERRY_ENOMEM;
        if (code < 0) right = 0, snprintf(e->why.text, sizeof e->why.text, "_get_info: %s", ferry_strerror(code));
        free(utf8), variant_drop(&text), variant_drop(&rest);
    }
    variant_drop(&given);
    return right;
}

static void answer(environment *e) {
    const ferry_turn *turn = e->owed;
    trouble why = {{0}};
    if (e->why.text[0] == '\0') {
        variant seen = ASK(e, _get_observation);
        if (!space_write(&e->observation, &e->table, turn, &seen, &why) && e->why.text[0] == '\0') blame(e, "_get_observation", &why);
        variant_drop(&seen);
    }
    int right = e->why.text[0] == '\0' && (!e->has_info || give_info(e)) && e->why.text[0] == '\0';
    if (right) {
        if (turn->kind == FERRY_STEP) {
            turn->reward[0] = e->reward, turn->terminated[0] = (uint8_t)e->terminated, turn->truncated[0] = (uint8_t)e->truncated;
        }
        ferry_env_reply(e->env);
    } else {
        ferry_env_fail(e->env, e->why.text);
    }
    int reset = turn->kind == FERRY_RESET && right;
    abandon(e);
    if (reset) emit(e, "episode_started", variant_nil());
}

/* A script's _reset that awaits returns an object that tells when it has come to its end. */
static int awaits(environment *e, variant *returned) {
    static const char completed[] = "completed";
    if (variant_type(returned) != TYPE(OBJECT)) return 0;
    variant signal = variant_text(completed, sizeof completed - 1);
    const variant *arguments[] = {&signal, NULL, NULL};
    variant known = variant_do(returned, NAME(has_signal), arguments, 1);
    double yes = 0;
    if (variant_as_double(&known, &yes) && yes != 0) {
        variant then = variant_method(e->object, NAME(_reset_completed)), flags = variant_int(ONE_SHOT);
        arguments[1] = &then, arguments[2] = &flags;
        variant code = variant_do(returned, NAME(connect), arguments, 3);
        variant_drop(&code), variant_drop(&then);
    }
    variant_drop(&known), variant_drop(&signal);
    return yes != 0;
}

static void begin_reset(environment *e) {
    const ferry_turn *turn = e->owed;
    if (e->script_resets) {
        e->resetting = RESET_QUEUED;
        return;
    }
    variant seed = variant_int(turn->seed[0]);
    variant options =
        turn->blob.format == FERRY_JSON ? json_parse(turn->blob.data, (size_t)turn->blob.size_bytes) : variant_empty(TYPE(DICTIONARY));
    const variant *arguments[] = {&seed, &options};
    variant returned = ask(e, NAME(_reset), "_reset", arguments, 2);
    e->script_resets = awaits(e, &returned);
    e->resetting = e->script_resets ? RESET_RUNS : RESET_FINISHED;
    variant_drop(&returned), variant_drop(&options);
}

static void begin_step(environment *e) {
    variant_drop(&e->chosen);
    e->chosen = space_read(&e->action, &e->table, e->owed);
    e->ticks_left = e->action_repeat;
}

static void begin(environment *e, const ferry_turn *turn) {
    e->why.text[0] = '\0';
    if (turn->kind == FERRY_LEFT) {
        const char *reason = ferry_strerror(turn->reason);
        abandon(e);
        e->has_agent = 0;
        emit(e, "agent_left", variant_text(reason, strlen(reason)));
        return;
    }
    if (!e->has_agent) emit(e, "agent_joined", variant_int(turn->peer_pid));
    e->has_agent = 1;
    e->owed = turn;
    if (turn->kind == FERRY_STEP) {
        begin_step(e);
        return;
    }
    begin_reset(e);
}

static int is_due(const environment *e) {
    if (e->owed == NULL) return 0;
    if (e->owed->kind == FERRY_RESET) return e->resetting == RESET_FINISHED;
    return e->ticks_left <= 0 || e->terminated || e->truncated || e->why.text[0] != '\0';
}

static int in_step(const environment *e) { return e->owed != NULL && e->owed->kind == FERRY_STEP; }

/* What the tick before has brought to the step that is under way. */
static void judge(environment *e) {
    if (!in_step(e)) return;
    if (e->has_reward) {
        variant given = ASK(e, _get_reward);
        double reward;
        if (variant_as_double(&given, &reward)) e->reward += reward;
        else if (e->why.text[0] == '\0') snprintf(e->why.text, sizeof e->why.text, "_get_reward returned no number");
        variant_drop(&given);
    }
    if (e->has_terminated) e->terminated = ask_flag(e, NAME(_is_terminated), "_is_terminated");
    if (e->has_truncated) e->truncated = ask_flag(e, NAME(_is_truncated), "_is_truncated");
    e->ticks_left--;
}

/* How long the node may keep the tick for its agent's next turn. */
static int64_t patience(const environment *e) {
    if (e->owed != NULL || num_playing > e->plays) return 0; /* the world must go on. With a turn, only news that the agent left can come */
    if (num_thinking > e->thinks) return e->has_agent ? SHARED_NS : 0;
    if (e->has_agent) return e->on_screen ? PATIENCE_ON_SCREEN_NS : PATIENCE_NS;
    return e->on_screen ? IDLE_ON_SCREEN_NS : IDLE_NS;
}

/* Takes turns until one is under way or none comes. 0 if it is over. */
static int take_turns(environment *e) {
    const ferry_turn *turn;
    for (;;) {
        if (is_due(e)) answer(e);
        int got = ferry_env_wait(e->env, patience(e), &turn);
        if (got < 0) {
            ferry_why why;
            ferry_env_why(e->env, &why);
            give_up(e, why.text, got);
        }
        if (got > 0) begin(e, turn);
        if (e->closes) return 0;
        if (got == 0 || in_step(e)) return 1;
    }
}

static void play(environment *e) {
    judge(e);
    if (e->resetting == RESET_QUEUED) begin_reset(e);
    if (!take_turns(e)) return;
    count_in(e, e->has_agent && e->owed == NULL, e->owed != NULL);
    if (!in_step(e)) return;
    const variant *arguments[] = {&e->chosen};
    variant result = ask(e, NAME(_apply_action), "_apply_action", arguments, 1);
    variant_drop(&result);
}

static void tick(environment *e) {
    if (!is_paused && node_is_paused(e->object)) return; /* by the game: then nobody plays */
    e->in_tick = 1;
    if (e->env != NULL || open_env(e)) play(e);
    e->in_tick = 0;
    if (e->closes) close_env(e);
}

/* ---- The class ------------------------------------------------------------------------------------------------------ */

static void notified(GDExtensionClassInstancePtr instance, int32_t what, GDExtensionBool reversed) {
    environment *e = instance;
    (void)reversed;
    if (what == INTERNAL_PHYSICS_PROCESS) tick(e);
    if (what == ENTER_TREE && e->enabled) physics(e, 1);
    if (what == EXIT_TREE) count_in(e, 0, 0), close_env(e); /* the tree now: it is out of reach afterwards */
}

static void set_int(environment *e, const string *setter, int64_t value) {
    variant number = variant_int(value);
    const variant *arguments[] = {&number};
    variant result = call_self(e, setter, arguments, 1);
    variant_drop(&result);
}

static GDExtensionObjectPtr create(void *class_data, GDExtensionBool notify) {
    (void)class_data;
    environment *e = calloc(1, sizeof *e);
    char *address = calloc(1, 1);
    if (e == NULL || address == NULL) return free(e), free(address), NULL;
    string name = name_new(CLASS), parent = name_new("Node");
    e->enabled = 1, e->action_repeat = 1, e->address = address;
    e->chosen = variant_nil();
    e->object = godot.classdb_construct_object2(&parent);
    godot.object_set_instance(e->object, &name, e);
    name_drop(&name), name_drop(&parent);
    if (notify) {
        variant what = variant_int(POSTINITIALIZE), reversed = variant_bool(0);
        const variant *arguments[] = {&what, &reversed};
        variant result = call_self(e, NAME(notification), arguments, 2);
        variant_drop(&result);
    }
    set_int(e, NAME(set_physics_process_priority), PRIORITY);
    set_int(e, NAME(set_process_mode), ALWAYS);
    return e->object;
}

static void destroy(void *class_data, GDExtensionClassInstancePtr instance) {
    environment *e = instance;
    (void)class_data;
    close_env(e);
    free(e->address);
    free(e);
}

static void get_enabled(void *instance, const variant *const *arguments, int count, variant *out) {
    (void)arguments, (void)count;
    *out = variant_bool(((environment *)instance)->enabled);
}

static void set_enabled(void *instance, const variant *const *arguments, int count, variant *out) {
    environment *e = instance;
    double value = 0;
    (void)count, (void)out;
    variant_as_double(arguments[0], &value);
    e->enabled = value != 0;
    physics(e, e->enabled);
    if (!e->enabled) close_env(e);
}

static void get_address(void *instance, const variant *const *arguments, int count, variant *out) {
    const environment *e = instance;
    (void)arguments, (void)count;
    *out = variant_text(e->address, strlen(e->address));
}

static void set_address(void *instance, const variant *const *arguments, int count, variant *out) {
    environment *e = instance;
    (void)count, (void)out;
    char *address = variant_utf8(arguments[0], NULL);
    if (address == NULL) return;
    free(e->address);
    e->address = address;
    if (e->enabled && e->env == NULL) physics(e, 1);
}

#define NUMBER(name, low, high)                                                                                                            \
    static void get_##name(void *instance, const variant *const *arguments, int count, variant *out) {                                     \
        (void)arguments, (void)count;                                                                                                      \
        *out = variant_int(((environment *)instance)->name);                                                                               \
    }                                                                                                                                      \
    static void set_##name(void *instance, const variant *const *arguments, int count, variant *out) {                                     \
        int64_t value = 0;                                                                                                                 \
        (void)count, (void)out;                                                                                                            \
        variant_as_int(arguments[0], &value);                                                                                              \
        ((environment *)instance)->name = value<(low) ? (low) : value>(high) ? (high) : value;                                             \
    }
NUMBER(action_repeat, 1, INT32_MAX)
NUMBER(max_episode_steps, 0, INT32_MAX)
#undef NUMBER

static void has_agent(void *instance, const variant *const *arguments, int count, variant *out) {
    (void)arguments, (void)count;
    *out = variant_bool(((environment *)instance)->has_agent);
}

static void fail(void *instance, const variant *const *arguments, int count, variant *out) {
    environment *e = instance;
    (void)count, (void)out;
    if (e->owed == NULL || e->resetting == RESET_QUEUED) return; /* a _reset for an agent that has left */
    if (e->why.text[0] != '\0') return;
    variant_print(arguments[0], e->why.text, sizeof e->why.text);
    if (e->why.text[0] == '\0') snprintf(e->why.text, sizeof e->why.text, "the script called fail() and did not say why");
}

static void reset_completed(void *instance, const variant *const *arguments, int count, variant *out) {
    environment *e = instance;
    (void)arguments, (void)count, (void)out;
    e->script_resets = 0;
    if (e->resetting == RESET_RUNS) e->resetting = RESET_FINISHED;
}

#define ACCESSORS(name, type)                                                                                                              \
    {"get_" #name, get_##name, {"value", TYPE(type)}, {{0}}, 0, 0, 0}, {"set_" #name, set_##name, {0}, {{"value", TYPE(type)}}, 1, 1, 0}
static const method methods[] = {
    ACCESSORS(enabled, BOOL),
    ACCESSORS(address, STRING),
    ACCESSORS(action_repeat, INT),
    ACCESSORS(max_episode_steps, INT),
    {"has_agent", has_agent, {"yes", TYPE(BOOL)}, {{0}}, 0, 0, 0},
    {"fail", fail, {0}, {{"message", TYPE(STRING)}}, 1, 1, 0},
    {"_reset_completed", reset_completed, {0}, {{"result", TYPE(NIL)}}, 1, 0, 0},
};
#undef ACCESSORS

static const property properties[] = {
    {"enabled", TYPE(BOOL), HINT_NONE, ""},
    {"address", TYPE(STRING), HINT_NONE, ""},
    {"action_repeat", TYPE(INT), HINT_RANGE, "1,60,1,or_greater"},
    {"max_episode_steps", TYPE(INT), HINT_RANGE, "0,10000,1,or_greater"},
};

static const virtual_method virtual_methods[] = {
    {"_get_observation_space", {"space", TYPE(NIL)}, {{0}}, 0}, {"_get_action_space", {"space", TYPE(NIL)}, {{0}}, 0},
    {"_get_info_space", {"space", TYPE(DICTIONARY)}, {{0}}, 0}, {"_reset", {0}, {{"seed", TYPE(INT)}, {"options", TYPE(DICTIONARY)}}, 2},
    {"_apply_action", {0}, {{"action", TYPE(NIL)}}, 1},         {"_get_observation", {"observation", TYPE(NIL)}, {{0}}, 0},
    {"_get_reward", {"reward", TYPE(FLOAT)}, {{0}}, 0},         {"_is_terminated", {"terminated", TYPE(BOOL)}, {{0}}, 0},
    {"_is_truncated", {"truncated", TYPE(BOOL)}, {{0}}, 0},     {"_get_info", {"info", TYPE(DICTIONARY)}, {{0}}, 0},
};

static const signal signals[] = {
    {"agent_joined", {{"pid", TYPE(INT)}}, 1},
    {"agent_left", {{"reason", TYPE(STRING)}}, 1},
    {"episode_started", {{0}}, 0},
    {"failed", {{"reason", TYPE(STRING)}}, 1},
};

#define EACH(array, call)                                                                                                                  \
    for (size_t i = 0; i < sizeof(array) / sizeof *(array); i++) call(library, CLASS, &(array)[i])

void environment_register(GDExtensionClassLibraryPtr library) {
    string name = name_new(CLASS), parent = name_new("Node");
    /* A runtime class: in the editor its nodes can be placed and set, but do not play. */
    GDExtensionClassCreationInfo4 about = {.is_exposed = 1, .is_runtime = 1, .notification_func = notified};
    about.create_instance_func = create, about.free_instance_func = destroy;
    godot.classdb_register_extension_class4(library, &name, &parent, &about);
    name_drop(&name), name_drop(&parent);
    EACH(methods, class_method);
    EACH(properties, class_property);
    EACH(virtual_methods, class_virtual_method);
    EACH(signals, class_signal);
}

void environment_unregister(GDExtensionClassLibraryPtr library) {
    string name = name_new(CLASS);
    godot.classdb_unregister_extension_class(library, &name);
    name_drop(&name);
}
