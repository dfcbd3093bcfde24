/* The campaign: one side of a channel is killed, stopped or disconnected again and again, and the other has to notice it in time, to take
 * nothing that is torn or old, and to play with the next.
 *
 *     campaign --kills 10000          at random instants, over both sides, both ways round, and all modes
 *     campaign_points --points 1      at every function of the library that a game comes by, where it begins and where it ends; with
 *                                     20, one of twenty such attempts is made
 *     --seed N                        makes the same choices
 *
 * A survivor is one process that lives through a whole batch; for each attempt there is a victim, and after it a witness, who plays a
 * whole game with the survivor. The last line is the verdict, and the exit code says the same; whether deaths were noticed within the 50 ms
 * that are promised, the figures say. */
#include "game.h"
#include "points.h"

#include <sys/mman.h>

enum { LATENCIES = 1 << 17 };

typedef struct totals {
    double ms[LATENCIES]; /* from each death to its notice */
    int noticed, before;  /* before: those who died before there was a connection, or after it */
    int dead_names;
    uint64_t games;
    int done[DEED_DISCONNECT + 1];
} totals;

typedef struct batch {
    game_mode mode;
    int agent_listens, env_survives;
    int64_t slice_ns;
    int games, batches_left;
    board *survivors, *others;
    totals *all;
    const char *directory;
} batch;

static char under_way[200];
static pid_t director;

static const char *const MODE_NAMES[] = {"turns", "rows", "real time"};

static double now_ms(void) { return (double)now_ns() * 1e-6; }

static void nap_ns(int64_t ns) {
    struct timespec length = {ns / SECOND, ns % SECOND};
    nanosleep(&length, NULL);
}

static void *shared(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

/* ---- Processes ---- */

/* A player that has to leave as many descriptors open as it found. */
static int play_whole(int (*play)(void *), player *one) {
    int descriptors = count_descriptors();
    CHECK(play(one) == 0);
    CHECK(count_descriptors() == descriptors);
    return 0;
}

static int whole_env(void *one) { return play_whole(play_as_env, (player *)one); }
static int whole_agent(void *one) { return play_whole(play_as_agent, (player *)one); }

static pid_t start_player(const batch *now, int is_env, board *told, int sessions) {
    player one;
    one.address = is_env == now->agent_listens ? "connect:game" : "serve:game";
    one.mode = now->mode, one.sessions = sessions, one.board = told, one.slice_ns = now->slice_ns, one.games = now->games, one.steps = 6;
    return start_child(is_env ? whole_env : whole_agent, &one);
}

static int is_alive(pid_t pid) { return waitpid(pid, NULL, WNOHANG) == 0; }

/* ---- One attempt ---- */

static uint64_t pulse_of(const board *told) { return __atomic_load_n(&told->pulse, __ATOMIC_RELAXED); }
static uint32_t endings_of(const board *told) { return __atomic_load_n(&told->endings, __ATOMIC_ACQUIRE); }

static void count_dead_names(const batch *now) {
    char path[96];
    struct stat found;
    snprintf(path, sizeof path, "%s/game", now->directory);
    now->all->dead_names += lstat(path, &found) == 0;
}

/* What the survivor says of its last connection with the victim, among the endings since. */
static void count_ending(const batch *now, uint32_t since, pid_t victim, int64_t died_ns) {
    const board *told = now->survivors;
    uint32_t until = endings_of(told), i;
    const ending *last = NULL;
    CHECK(until - since < KEPT_ENDINGS);
    for (i = since; i != until; i++)
        if (told->ending[i % KEPT_ENDINGS].pid == (uint32_t)victim) last = &told->ending[i % KEPT_ENDINGS];
    if (last == NULL || last->reason == 0 || last->at_ns < died_ns) now->all->before++;
    else if (now->all->noticed < LATENCIES) now->all->ms[now->all->noticed++] = (double)(last->at_ns - died_ns) * 1e-6;
}

/* The next one can play, whatever became of the last. */
static void witness(const batch *now) { CHECK(end_child(start_player(now, !now->env_survives, now->others, 1)) == 0); }

static void after_death(const batch *now, uint32_t since, pid_t victim, int64_t died_ns) {
    int of_server = now->env_survives == now->agent_listens;
    if (of_server) count_dead_names(now);
    witness(now);
    count_ending(now, since, victim, died_ns);
    now->all->done[DEED_KILL]++;
}

static void kill_at_random(const batch *now) {
    uint32_t since = endings_of(now->survivors);
    pid_t victim;
    int64_t died_ns, started = now_ns();
    now->others->turns = 0;
    victim = start_player(now, !now->env_survives, now->others, 0);
    if (lrand48() % 4 != 0) /* else perhaps before there is a connection */
        while (__atomic_load_n(&now->others->turns, __ATOMIC_RELAXED) == 0 && now_ns() < started + SECOND) nap_ns(20000);
    nap_ns((int64_t)(drand48() * 4e6));
    died_ns = now_ns();
    kill(victim, SIGKILL);
    CHECK(end_child(victim) == 128 + SIGKILL);
    after_death(now, since, victim, died_ns);
}

/* While its peer is stopped no call holds the survivor up. */
static void check_pulse(const batch *now) {
    uint64_t pulse = pulse_of(now->survivors);
    int64_t until = now_ns() + 10 * SECOND;
    while (pulse_of(now->survivors) < pulse + 3) {
        CHECK(now_ns() < until);
        nap_ns(SECOND / 1000);
    }
}

static const char *const DEED_NAMES[] = {"", "", "is killed", "is stopped", "is disconnected"};

/* What is under way, for whoever reads of a failure: nm names the function. */
static void explain_failure(void) {
    if (*under_way != 0 && getpid() == director) fprintf(stderr, "%s", under_way);
}

/* Is the point reached? Which process does what when is never twice the same. */
static int act_at_point(const batch *now, deed what, const point *at) {
    uint32_t since = endings_of(now->survivors);
    int status, reached;
    pid_t victim;
    snprintf(under_way, sizeof under_way, "the victim %s where the function at %p %s for the %u. time\n", DEED_NAMES[what], at->function,
             at->ends ? "ends" : "begins", at->times);
    *the_plan.done = 0;
    the_plan.at = *at, the_plan.what = what;
    victim = start_player(now, !now->env_survives, now->others, 2);
    the_plan.what = DEED_NONE;
    CHECK(waitpid(victim, &status, WUNTRACED) == victim);
    reached = *the_plan.done != 0;
    if (WIFSTOPPED(status)) {
        CHECK(what == DEED_STOP && reached);
        check_pulse(now);
        kill(victim, SIGCONT);
        CHECK(waitpid(victim, &status, 0) == victim);
    }
    if (reached && what == DEED_KILL) {
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        after_death(now, since, victim, *the_plan.done_ns);
        return 1;
    }
    if (status != 0) fprintf(stderr, "it ended with status %#x\n", (unsigned)status);
    CHECK(status == 0); /* it has played its two sessions to the end */
    if (reached) now->all->done[what]++;
    return reached;
}

/* ---- Batches ---- */

static pid_t start_survivor(const batch *now) {
    memset(now->survivors, 0, sizeof *now->survivors);
    return start_player(now, now->env_survives, now->survivors, 0);
}

/* Nothing may be left: no process, no descriptor, no name. */
static void end_survivor(const batch *now, pid_t survivor) {
    DIR *entries;
    const struct dirent *entry;
    CHECK(is_alive(survivor));
    __atomic_store_n(&now->survivors->stop, 1, __ATOMIC_RELEASE);
    CHECK(end_child(survivor) == 0);
    now->all->games += now->survivors->games;
    CHECK((entries = opendir(now->directory)) != NULL);
    while ((entry = readdir(entries)) != NULL)
        if (strncmp(entry->d_name, "game", 4) == 0) fprintf(stderr, "%s was left\n", entry->d_name), exit(1);
    closedir(entries);
}

static int compare(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* The latencies from first on; sorts them. */
static void print_latencies(totals *all, int first) {
    int count = all->noticed - first;
    double *ms = all->ms + first;
    qsort(ms, (size_t)count, sizeof *ms, compare);
    if (count > 0)
        printf("noticed %d, p50 %5.1f, p99 %5.1f, at most %5.1f ms", count, ms[count / 2], ms[(int)(count * 0.99)], ms[count - 1]);
    fflush(stdout);
}

static void print_batch(const batch *now) {
    printf("%-9s  %-11s listens  %-11s dies  ", MODE_NAMES[now->mode], now->agent_listens ? "agent" : "environment",
           now->env_survives ? "agent" : "environment");
    fflush(stdout);
}

static void for_each_batch(batch *now, void (*run)(batch *, void *), void *argument) {
    for (now->batches_left = NUM_GAME_MODES * 4; now->batches_left > 0; now->batches_left--) {
        int number = NUM_GAME_MODES * 4 - now->batches_left;
        pid_t survivor;
        now->mode = (game_mode)(number / 4), now->agent_listens = number / 2 % 2, now->env_survives = number % 2;
        print_batch(now);
        survivor = start_survivor(now);
        run(now, argument);
        end_survivor(now, survivor);
    }
}

/* As many in each batch; the rest of the division goes to the first. */
static void run_kills(batch *now, void *argument) {
    int *left = (int *)argument, count = (*left + now->batches_left - 1) / now->batches_left, i, first = now->all->noticed;
    *left -= count;
    for (i = 0; i < count; i++) kill_at_random(now);
    printf("%5d kills: ", count);
    print_latencies(now->all, first);
    printf("\n");
}

/* ---- Points ---- */

/* The points that the victim's side of a game comes by. */
static int record_points(const batch *now, point *out) {
    int i, count = 0;
    memset(the_plan.recorded, 0, MAX_POINTS * sizeof *the_plan.recorded);
    the_plan.what = DEED_RECORD;
    CHECK(end_child(start_player(now, !now->env_survives, now->others, 2)) == 0);
    the_plan.what = DEED_NONE;
    for (i = 0; i < MAX_POINTS; i++)
        if (the_plan.recorded[i].function != NULL) out[count++] = the_plan.recorded[i];
    if (count == 0) fprintf(stderr, "this program was built without points\n"), exit(1);
    return count;
}

/* Each of them when it is passed for the first time, and for a later one; of so many attempts one is made. */
static void run_points(batch *now, void *argument) {
    static point points[MAX_POINTS];
    int one_of = *(int *)argument, count = record_points(now, points), i, what, later, reached = 0, tried = 0, first = now->all->noticed;
    for (i = 0; i < count; i++)
        for (what = DEED_KILL; what <= DEED_DISCONNECT; what++)
            for (later = 0; later < (points[i].times > 1 ? 2 : 1); later++) {
                point at = points[i];
                if (lrand48() % one_of != 0) continue;
                at.times = later ? 2 + (uint32_t)(lrand48() % (points[i].times - 1)) : 1;
                reached += act_at_point(now, (deed)what, &at), tried++;
            }
    printf("%4d points, %5d of %5d attempts reached: ", count, reached, tried);
    print_latencies(now->all, first);
    printf("\n");
}

int main(int argc, char **argv) {
    static totals all;
    char directory[64];
    batch now;
    long seed = 1;
    int i, kills = 0, points = 0;
    double started = now_ms();
    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--kills") == 0) kills = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--points") == 0) points = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0) seed = atol(argv[i + 1]);
        else break;
    }
    if (i != argc || (kills > 0) == (points > 0))
        return fprintf(stderr, "campaign --kills N | --points N [--seed N]: one of the two, 1 or more\n"), 2;
    srand48(seed);
    director = getpid();
    atexit(explain_failure);
    begin_test(0, directory);
    memset(&now, 0, sizeof now);
    now.survivors = (board *)shared(sizeof(board)), now.others = (board *)shared(sizeof(board));
    now.all = &all, now.directory = directory;
    the_plan.done = (uint32_t *)shared(sizeof(uint32_t)), the_plan.done_ns = (int64_t *)shared(sizeof(int64_t));
    the_plan.recorded = (point *)shared(MAX_POINTS * sizeof(point));
    now.slice_ns =
        kills > 0 ? SECOND / 2 : SECOND / 100; /* a death ends a wait, which may be long; under a peer that is stopped it may not */
    now.games = kills > 0 ? 10 : 1;
    if (kills > 0) for_each_batch(&now, run_kills, &kills);
    else for_each_batch(&now, run_points, &points);
    printf("all: %d killed, %d stopped, %d disconnected in %.0f s; ", all.done[DEED_KILL], all.done[DEED_STOP], all.done[DEED_DISCONNECT],
           (now_ms() - started) / 1e3);
    print_latencies(&all, 0);
    printf("; %d before or after a connection; %d dead names, each taken over; the survivors played %llu whole games\n", all.before,
           all.dead_names, (unsigned long long)all.games);
    printf("nothing torn, nothing old, nobody hung, nothing left\n");
    *under_way = 0;
    end_test(directory);
    return 0;
}
