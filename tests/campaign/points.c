#include "points.h"

#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

plan the_plan;

void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

static void record(const void *function, uint32_t ends) {
    uint32_t place = (uint32_t)((uintptr_t)function * 2654435761U + ends) % MAX_POINTS, tries;
    for (tries = 0; tries < MAX_POINTS; tries++, place = (place + 1) % MAX_POINTS) {
        point *at = &the_plan.recorded[place];
        if (at->function == NULL) at->function = function, at->ends = ends;
        if (at->function != function || at->ends != ends) continue;
        at->times++;
        return;
    }
}

/* Of its connections, not of the socket where it listens. */
static void disconnect(void) {
    int descriptor;
    for (descriptor = 3; descriptor < 64; descriptor++) {
        struct sockaddr_storage peer;
        socklen_t bytes = sizeof peer;
        if (getpeername(descriptor, (struct sockaddr *)&peer, &bytes) == 0) (void)shutdown(descriptor, SHUT_RDWR);
    }
}

static void act(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *the_plan.done_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    *the_plan.done = 1;
    if (the_plan.what == DEED_DISCONNECT) disconnect();
    else (void)kill(getpid(), the_plan.what == DEED_KILL ? SIGKILL : SIGSTOP);
}

static void pass(const void *function, uint32_t ends) {
    if (the_plan.what == DEED_NONE) return;
    if (the_plan.what == DEED_RECORD) record(function, ends);
    else if (function == the_plan.at.function && ends == the_plan.at.ends && the_plan.at.times > 0 && --the_plan.at.times == 0) act();
}

void __cyg_profile_func_enter(void *function, void *caller) { (void)caller, pass(function, 0); }

void __cyg_profile_func_exit(void *function, void *caller) { (void)caller, pass(function, 1); }
