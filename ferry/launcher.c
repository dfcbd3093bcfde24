/* launcher PID PROGRAM [ARGUMENT...]: becomes the program, once it is sure to end with the process PID, which started it. What Python
 * could do only in itself, and then a hundred times as slowly. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Leads a group that no terminal interrupts or stops. A session of its own would be simpler, but Linux schedules each session as one
 * (autogroup, sched(7)): sched_yield reaches nobody outside it then, and processes that wait for each other burn their time instead. */
static void leave_the_terminal(void) {
    int terminal;
    setpgid(0, 0);
    terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (terminal < 0) return;
    ioctl(terminal, TIOCNOTTY);
    close(terminal);
}

int main(int argc, char **argv) {
    if (argc < 3) return fputs("usage: launcher PID PROGRAM [ARGUMENT...]\n", stderr), 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != (pid_t)strtol(argv[1], NULL, 10)) return 1; /* it has ended already, and nobody would be told */
    leave_the_terminal();
    execvp(argv[2], argv + 2);
    fprintf(stderr, "ferry: cannot run '%s': %s\n", argv[2], strerror(errno));
    return 127;
}
