/* Regions beyond 32 bits: mapped whole where pointers reach them, refused in words where they do not, never cut short. */
#include "check.h"

#include "layout.h"
#include "region.h"

#include <fcntl.h>
#include <sys/mman.h>

#define GIB ((uint64_t)1 << 30)
#define ALLOWED (16 * GIB)

/* Sealed memory of so many bytes that takes up none, as a peer could send it. */
static ferry__os sparse(uint64_t bytes) {
    int fd = memfd_create("sparse", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && ftruncate64(fd, (off64_t)bytes) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    return fd;
}

/* Sizes of which 32 bits would keep nothing or a page; just too many for a pointer's difference. */
static void test_a_large_region_is_whole_or_refused(void) {
    static const uint64_t sizes[] = {4 * GIB, 4 * GIB + FERRY__PAGE, 2 * GIB, 5 * GIB + 3 * FERRY__PAGE};
    size_t i;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ferry_why why;
        ferry__region *region;
        int got = ferry__region_adopt(sparse(sizes[i]), sizes[i], ALLOWED, &region, &why);
        if (sizeof(void *) < 8) {
            CHECK(got == FERRY_ETOOBIG && region == NULL);
            CHECK_CONTAINS(why.text, "32-bit process");
            CHECK(ferry__region_allowed(sizes[i], ALLOWED, &why) == FERRY_ETOOBIG);
            CHECK_CONTAINS(why.text, "build this side for 64 bits");
            continue;
        }
        CHECK(got == 0 && region->bytes == sizes[i]);
        region->base[sizes[i] - 1] = 'z'; /* and nowhere else, such as in what 32 bits keep of the place */
        CHECK(region->base[0] == 0 && region->base[sizes[i] - 1] == 'z');
        CHECK(sizes[i] - 1 <= UINT32_MAX || region->base[(uint32_t)(sizes[i] - 1)] == 0);
        ferry__region_release(region);
    }
}

static void test_a_size_that_is_not_the_memorys_is_refused(void) {
    ferry_why why;
    ferry__region *region;
    CHECK(ferry__region_adopt(sparse(4 * GIB + FERRY__PAGE), FERRY__PAGE, ALLOWED, &region, &why) == FERRY_EPROTOCOL);
    CHECK_CONTAINS(why.text, "has 4294971392 bytes where it said 4096");
}

/* What is described is refused as well, before anything is made of that size. */
static void test_a_large_environment_is_refused_where_it_cannot_be_mapped(void) {
    ferry_field fields[NUM_FIELDS];
    ferry_env_desc desc;
    ferry_env *env;
    ferry_why why;
    small_fields(fields);
    fields[OBSERVATION].dtype = FERRY_U8, fields[OBSERVATION].shape[0] = UINT32_MAX;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.address = "large", desc.fields = fields, desc.num_fields = NUM_FIELDS;
    CHECK(ferry_env_open(&desc, &env, &why) == FERRY_ETOOBIG && env == NULL);
    CHECK_CONTAINS(why.text, sizeof(void *) < 8 ? "a 32-bit process can map 2048.0 MiB" : "1024.0 MiB are allowed");
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_a_large_region_is_whole_or_refused();
    test_a_size_that_is_not_the_memorys_is_refused();
    test_a_large_environment_is_refused_where_it_cannot_be_mapped();
    end_test(directory);
    return 0;
}
