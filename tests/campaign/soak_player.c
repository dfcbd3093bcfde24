/* One side of a game, for soak.py: soak_player env|agent turns|rows|frames ADDRESS. It plays until SIGTERM, then says how many turns it has
 * played. */
#include "game.h"

static board told;

static void stop(int signal) { (void)signal, __atomic_store_n(&told.stop, 1, __ATOMIC_RELEASE); }

int main(int argc, char **argv) {
    static const char *const MODES[NUM_GAME_MODES] = {"turns", "rows", "frames"};
    player one;
    int mode = 0;
    if (argc != 4) return 2;
    while (mode < NUM_GAME_MODES && strcmp(argv[2], MODES[mode]) != 0) mode++;
    if (mode == NUM_GAME_MODES) return 2;
    memset(&one, 0, sizeof one);
    one.address = argv[3], one.mode = (game_mode)mode, one.board = &told, one.slice_ns = SECOND / 10, one.games = 100, one.steps = 1000;
    signal(SIGTERM, stop);
    if ((strcmp(argv[1], "env") == 0 ? play_as_env : play_as_agent)(&one) != 0) return 1;
    printf("%llu\n", (unsigned long long)told.turns);
    return 0;
}
