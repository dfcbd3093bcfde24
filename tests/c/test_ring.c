/* The ring that observers read: no message is torn, and no ring that is damaged is believed. */
#include "check.h"

#include "ring.h"

#include <sched.h>

enum { WORDS = 500, READERS = 3, TORN_SECONDS = 3 };

/* A message whose every word follows from its number. */
static uint64_t word_of(uint64_t number, uint64_t i) { return number * UINT64_C(0x9E3779B97F4A7C15) + i; }

static void torn_spec(ferry__spec *spec) {
    ferry_field fields[2];
    ferry_env_desc desc;
    ferry_why why;
    int i;
    memset(fields, 0, sizeof fields);
    for (i = 0; i < 2; i++) {
        fields[i].role = (uint8_t)i, fields[i].dtype = FERRY_F64, fields[i].ndim = 1;
        fields[i].shape[0] = WORDS;
    }
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc, desc.fields = fields, desc.num_fields = 2;
    CHECK(ferry__spec_build(&desc, spec, &why) == 0);
}

static void fill(char *slot, uint64_t offset, uint64_t number) {
    uint64_t i, word;
    for (i = 0; i < WORDS; i++) word = word_of(number, i), memcpy(slot + offset + 8 * i, &word, 8);
}

static int is_filled(const char *slot, uint64_t offset, uint64_t number) {
    uint64_t i, word, wrong = 0;
    for (i = 0; i < WORDS; i++) memcpy(&word, slot + offset + 8 * i, 8), wrong |= word ^ word_of(number, i);
    return wrong == 0;
}

typedef struct torn_reader {
    ferry__os memory;
    uint64_t bytes;
    int report;
} torn_reader;

/* Reads for as long as it is let; its count goes into the pipe when the writer has gone. */
static int read_torn(void *argument) {
    torn_reader *with = (torn_reader *)argument;
    ferry__ring_reader reader;
    ferry_why why;
    uint64_t counts[2] = {0, 0}, last = 0;
    int64_t end = now_ns() + TORN_SECONDS * SECOND;
    CHECK(ferry__ring_adopt(dup((int)with->memory), with->bytes, &reader, &why) == 0);
    while (now_ns() < end) {
        const char *agent = reader.copy + reader.head.agent_at, *env = reader.copy + reader.head.env_at;
        const ferry__slot *answer = (const ferry__slot *)(const void *)env;
        const ferry__ring_slot *said = (const ferry__ring_slot *)(const void *)reader.copy;
        double reward;
        if (ferry__ring_read(&reader) == 0) {
            sched_yield();
            continue;
        }
        memcpy(&reward, env + reader.spec.group.reward_offset, sizeof reward);
        counts[0]++;
        counts[1] += !is_filled(agent, reader.spec.entries[1].offset, said->number) ||
                     !is_filled(env, reader.spec.entries[0].offset, said->number) || answer->number != said->number ||
                     reward != (double)said->number || said->number <= last;
        last = said->number;
    }
    CHECK(write(with->report, counts, sizeof counts) == sizeof counts);
    ferry__ring_forget(&reader);
    return counts[1] != 0;
}

/* A writer at full speed, far beyond thirty a second, whose words begin below their wrap, and readers of which one is killed wherever it
 * is. */
static void test_no_message_is_torn(void) {
    ferry__spec spec;
    ferry__ring *ring;
    ferry_why why;
    torn_reader with;
    pid_t readers[READERS + 1];
    char *region, *request, *answer;
    ferry__slot *head;
    uint64_t number = 0, episode = 0, counts[2], total[2] = {0, 0};
    int64_t end;
    int i, report[2];
    torn_spec(&spec);
    region = (char *)calloc(1, (size_t)spec.header.region_bytes);
    CHECK(region != NULL);
    ferry__spec_write(&spec, region);
    request = region + spec.header.agent_slot, answer = region + spec.header.env_slot[0];
    head = (ferry__slot *)(void *)answer;
    CHECK(ferry__ring_open(&spec, region, &episode, 0, &ring, &why) == 0);
    CHECK(pipe(report) == 0);
    with.memory = ring->region->memory, with.bytes = ring->region->bytes, with.report = report[1];
    for (i = 0; i <= READERS; i++) readers[i] = start_child(read_torn, &with);
    close(report[1]);
    end = now_ns() + TORN_SECONDS * SECOND;
    while (now_ns() < end) {
        double reward = (double)++number;
        fill(request, spec.entries[1].offset, number);
        fill(answer, spec.entries[0].offset, number);
        memcpy(answer + spec.group.reward_offset, &reward, sizeof reward);
        head->number = number, head->kind = FERRY_STEP;
        ferry__ring_write(ring, request, head, (int64_t)number);
        if (number == 1000) CHECK(kill(readers[READERS], SIGKILL) == 0);
    }
    CHECK(number > 1000);
    for (i = 0; i < READERS; i++) {
        CHECK(read(report[0], counts, sizeof counts) == sizeof counts);
        total[0] += counts[0], total[1] += counts[1];
    }
    for (i = 0; i < READERS; i++) CHECK(end_child(readers[i]) == 0);
    CHECK(end_child(readers[READERS]) == 128 + SIGKILL);
    printf("      %llu messages written, %llu read by %d readers, %llu torn\n", (unsigned long long)number, (unsigned long long)total[0],
           READERS, (unsigned long long)total[1]);
    CHECK(total[0] > 100 && total[1] == 0);
    close(report[0]);
    ferry__ring_close(ring);
    ferry__spec_clear(&spec);
    free(region);
}

static void test_a_ring_that_is_damaged_is_refused(void) {
    ferry__spec spec;
    ferry__ring *ring;
    ferry__ring_reader reader;
    ferry_why why;
    char *region, *copy;
    uint64_t episode = 0;
    unsigned seed = 1;
    int i, k, taken = 0;
    torn_spec(&spec);
    region = (char *)calloc(1, (size_t)spec.header.region_bytes);
    ferry__spec_write(&spec, region);
    CHECK(ferry__ring_open(&spec, region, &episode, 0, &ring, &why) == 0);
    copy = (char *)malloc((size_t)ring->region->bytes);
    CHECK(region != NULL && copy != NULL);
    for (i = 0; i < 2000; i++) {
        ferry__region *bad;
        CHECK(ferry__region_create(ring->region->bytes, 0, &bad, &why) == 0);
        memcpy(bad->base, ring->region->base, (size_t)bad->bytes);
        for (k = rand_r(&seed) % 6; k > 0; k--) {
            uint32_t at = (uint32_t)(rand_r(&seed) % 2 ? rand_r(&seed) % 160 : FERRY__PAGE + rand_r(&seed) % 1024);
            bad->base[at] = (char)(rand_r(&seed) % 3 ? rand_r(&seed) : 0);
        }
        if (ferry__ring_adopt(dup((int)bad->memory), bad->bytes, &reader, &why) == 0) {
            taken++;
            (void)ferry__ring_read(&reader);
            ferry__ring_forget(&reader);
        }
        ferry__region_release(bad);
    }
    CHECK(taken > 0 && taken < 2000);
    CHECK(ferry__ring_adopt(dup((int)ring->region->memory), ring->region->bytes + FERRY__PAGE, &reader, &why) == FERRY_EPROTOCOL);
    ferry__ring_close(ring);
    ferry__spec_clear(&spec);
    free(region), free(copy);
}

/* The head of an answer lies where the agent can write, too. */
static void test_a_damaged_answer_is_copied_within_bounds(void) {
    ferry__spec spec;
    ferry__ring *ring;
    ferry__ring_reader reader;
    ferry_why why;
    char *region, *request, *answer;
    ferry__slot *head;
    uint64_t episode = 0, past;
    torn_spec(&spec);
    region = (char *)calloc(1, (size_t)spec.header.region_bytes);
    CHECK(region != NULL);
    ferry__spec_write(&spec, region);
    request = region + spec.header.agent_slot, answer = region + spec.header.env_slot[0];
    head = (ferry__slot *)(void *)answer;
    CHECK(ferry__ring_open(&spec, region, &episode, 0, &ring, &why) == 0);
    CHECK(ferry__ring_adopt(dup((int)ring->region->memory), ring->region->bytes, &reader, &why) == 0);
    head->number = 1, head->kind = FERRY_STEP, head->blob_format = FERRY_JSON, head->blob_where = FERRY__WHERE_SLOT;
    head->blob_bytes = UINT64_MAX - 3;
    ferry__ring_write(ring, request, head, 0);
    memcpy(&past, ring->region->base + ring->head.slots_offset + 2 * ring->head.slot_bytes, sizeof past);
    CHECK((uint32_t)past == FERRY__SEQ_START && past >> 32 == 0); /* the next slot is as it was */
    CHECK(ferry__ring_read(&reader) == 1 && ((const ferry__ring_slot *)(const void *)reader.copy)->number == 1);
    ferry__ring_forget(&reader);
    ferry__ring_close(ring);
    ferry__spec_clear(&spec);
    free(region);
}

int main(void) {
    char directory[64];
    begin_test(60, directory);
    test_no_message_is_torn();
    test_a_ring_that_is_damaged_is_refused();
    test_a_damaged_answer_is_copied_within_bounds();
    end_test(directory);
    return 0;
}
