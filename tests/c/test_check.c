/* A test that fails leaves no directory behind; a child of it that ends leaves it its directory. */
#include "check.h"

static int passes(void *argument) { return argument != NULL; }

/* A test, in a process of its own: if all goes well it tells its directory, and fails. */
static int fails(void *told) {
    char directory[64];
    begin_test(20, directory);
    CHECK(end_child(start_child(passes, NULL)) == 0);
    CHECK(access(directory, F_OK) == 0);
    CHECK(freopen("/dev/null", "w", stderr) != NULL);
    CHECK(write(*(int *)told, directory, sizeof directory) == sizeof directory);
    CHECK(told == NULL);
    return 0;
}

int main(void) {
    char directory[64], other[64];
    int ends[2];
    begin_test(30, directory);
    CHECK(pipe(ends) == 0);
    CHECK(end_child(start_child(fails, &ends[1])) == 1);
    close(ends[1]);
    CHECK(read(ends[0], other, sizeof other) == sizeof other);
    CHECK_CONTAINS(other, "ferry-test-");
    CHECK(strcmp(other, directory) != 0 && access(other, F_OK) != 0);
    CHECK(access(directory, F_OK) == 0);
    end_test(directory);
    return 0;
}
