/* A region's description, as an agent and an observer read it from memory that another process made. The bytes are the region's beginning, or,
 * if the first is below FUZZ_BASES, changes in one that an environment has laid out.
 * What is accepted must be safe to use, so everything that the library would read is read. */
#include "fuzz.h"

#include "../../csrc/lane.h"
#include "../../csrc/rules.h"
#include "../../csrc/turns.h"

#define MOST_BYTES ((uint64_t)1 << 18)

/* What the spec says of itself, to people and to programs. */
static void read_words(const ferry__spec *spec) {
    uint32_t i, k;
    EXPECT(strlen(spec->desc.name) == spec->header.name_bytes);
    fuzz_touch(spec->desc.about.data, spec->desc.about.size_bytes);
    EXPECT(spec->desc.num_rows >= 1 && spec->desc.num_rows <= FERRY_MAX_ROWS);
    for (i = 0; i < spec->desc.num_fields; i++) {
        const ferry_field *field = &spec->fields[i];
        uint64_t bytes = ferry_dtype_bytes(field->dtype);
        EXPECT(bytes > 0 && strlen(field->path) == spec->entries[i].path_bytes && field->ndim <= FERRY_MAX_NDIM);
        for (k = 0; k < field->ndim; k++) bytes *= field->shape[k];
        if (field->low_each != NULL) fuzz_touch(field->low_each, bytes), fuzz_touch(field->high_each, bytes);
        if (field->kind == FERRY_DISCRETE) EXPECT(field->n >= 1);
    }
}

/* Reads it, and sees that it can be changed by its writer: neither what never changes nor the other side's part lies there. */
static void read_part(const ferry__spec *spec, const char *base, uint64_t part, uint64_t part_bytes, const void *start, uint64_t bytes) {
    uint64_t at = (uint64_t)((const char *)start - base);
    EXPECT(at >= spec->parts_begin && at >= part && at <= part + part_bytes && bytes <= part + part_bytes - at);
    fuzz_touch(start, bytes);
}

static void read_slot_of_env(const ferry__spec *spec, const char *base, const char *slot) {
    const ferry__header *header = &spec->header;
    read_part(spec, base, header->env_offset, header->env_bytes, slot, sizeof(ferry__slot));
    read_part(spec, base, header->env_offset, header->env_bytes, slot, spec->fields_end[FERRY__ENV - 1]);
    read_part(spec, base, header->env_offset, header->env_bytes, slot + header->env_blob, header->blob_bytes);
    if (spec->realtime)
        read_part(spec, base, header->env_offset, header->env_bytes, slot + spec->group.frame_moment_offset, sizeof(ferry__moment));
}

static void read_slot_of_agent(const ferry__spec *spec, const char *base, const char *slot) {
    const ferry__header *header = &spec->header;
    read_part(spec, base, header->agent_offset, header->agent_bytes, slot, sizeof(ferry__slot));
    read_part(spec, base, header->agent_offset, header->agent_bytes, slot, spec->fields_end[FERRY__AGENT - 1]);
    read_part(spec, base, header->agent_offset, header->agent_bytes, slot + header->agent_blob, header->blob_bytes);
    read_part(spec, base, header->agent_offset, header->agent_bytes, slot + spec->group.rows_offset, 4 * (uint64_t)spec->group.num_rows);
    if (spec->realtime)
        read_part(spec, base, header->agent_offset, header->agent_bytes, slot + spec->group.action_moment_offset, sizeof(ferry__moment));
}

/* Columns lie before fields, and fields before blobs: a message is copied in such pieces. */
static void check_order(const ferry__spec *spec) {
    uint32_t i;
    for (i = 0; i < spec->header.num_fields; i++) {
        const ferry__entry *entry = &spec->entries[i];
        uint32_t writer = (entry->role == FERRY_ACTION ? FERRY__AGENT : FERRY__ENV) - 1;
        EXPECT(entry->offset >= spec->columns_end[writer]);
        EXPECT(entry->offset + entry->stride * spec->group.num_rows <= spec->fields_end[writer]);
    }
    EXPECT(spec->header.agent_blob >= spec->fields_end[FERRY__AGENT - 1]);
    EXPECT(spec->header.env_blob >= spec->fields_end[FERRY__ENV - 1]);
}

/* Reads all that an agent would, of a region that it has accepted. */
static void use(const ferry__spec *spec, char *base) {
    const ferry__header *header = &spec->header;
    char *answers[FERRY__ANSWERS], *message = base + header->agent_slot;
    ferry__spec one = *spec;
    uint32_t i, num_slots = spec->realtime ? FERRY__ANSWERS : FERRY__TURN_SLOTS;
    ferry__turns turns;
    ferry_why why;
    check_order(spec);
    fuzz_touch(base + header->agent_offset, sizeof(ferry__line)), fuzz_touch(base + header->env_offset, sizeof(ferry__line));
    ferry__turns_place(spec, base, answers);
    EXPECT(ferry__turns_open(&turns, spec, answers, message, &why) == 0);
    for (i = 0; i < num_slots; i++) {
        read_slot_of_env(spec, base, answers[i]);
        fuzz_look_at(ferry__turns_at(&turns, i), spec->group.num_rows);
    }
    read_slot_of_agent(spec, base, message);
    if (spec->realtime) {
        ferry__lane lane;
        ferry__lane_open(&lane, base + header->env_offset + FERRY__ACTIONS_WORD, base + header->action_slots,
                         ferry__lane_pitch(header->agent_blob, header->blob_bytes), 0);
        for (i = 0; i < FERRY__LANE_SLOTS; i++) read_slot_of_agent(spec, base, (const char *)lane.slot[i]);
        fuzz_touch(base + header->env_offset, FERRY__LANES_END);
    }
    one.header.num_fields = 1;
    for (i = 0; i < header->num_fields; i++) { /* one after the other, since the check ends with the first that is outside */
        one.entries = &spec->entries[i];
        (void)ferry__spec_check_actions(&one, message, turns.all, spec->group.num_rows, &why);
    }
    ferry__turns_close(&turns);
}

/* The whole region, as agents map it. */
static void take_region(const uint8_t *data, size_t size, uint64_t region_bytes) {
    ferry__os memory = fuzz_memory(region_bytes, 1, 0);
    char *base = fuzz_memory_start(memory);
    ferry__spec spec;
    ferry_why why;
    memcpy(base, data, (size_t)(size < region_bytes ? size : region_bytes));
    if (ferry__spec_take(base, region_bytes, region_bytes, &spec, &why) == 0) {
        read_words(&spec);
        use(&spec, base);
        ferry__spec_clear(&spec);
    } else EXPECT(why.code < 0 && why.text[0] != 0);
    ferry__platform_close(memory);
}

/* Its beginning alone, as rings have it: the region may be of any size, and no byte of it is there. */
static void take_beginning(const uint8_t *data, size_t size) {
    ferry__os memory = fuzz_memory(size, 1, 0);
    char *base = fuzz_memory_start(memory);
    ferry__header header;
    ferry__spec spec;
    ferry_why why;
    memcpy(&header, data, sizeof header);
    memcpy(base, data, size);
    if (ferry__spec_take(base, size, header.region_bytes, &spec, &why) == 0) read_words(&spec), ferry__spec_clear(&spec);
    ferry__platform_close(memory);
}

/* ---- The beginning of a region ---- */

static void take_both(const uint8_t *data, size_t size, uint64_t region_bytes) {
    take_region(data, size, region_bytes);
    take_beginning(data, size);
}

static void take_bytes(const uint8_t *data, size_t size) {
    ferry__header header;
    uint64_t region_bytes;
    uint8_t *mended;
    if (size < sizeof header) return;
    memcpy(&header, data, sizeof header);
    region_bytes = header.region_bytes / FERRY__PAGE * FERRY__PAGE;
    if (region_bytes == 0 || region_bytes > MOST_BYTES) region_bytes = ferry__round_up(size, FERRY__PAGE);
    take_both(data, size, region_bytes);
    /* What few bytes would pass by chance, so that those behind it are looked at. */
    memcpy(header.magic, FERRY__REGION_MAGIC, sizeof header.magic);
    header.endian = FERRY__ENDIAN, header.abi_major = FERRY__ABI_MAJOR, header.incompat &= FERRY__FEATURES_KNOWN;
    header.region_bytes = region_bytes, header.num_groups = 1;
    header.header_bytes = sizeof(ferry__header), header.group_bytes = sizeof(ferry__group), header.field_bytes = sizeof(ferry__entry);
    mended = (uint8_t *)malloc(size);
    EXPECT(mended != NULL);
    memcpy(mended, data, size);
    memcpy(mended, &header, sizeof header);
    take_region(mended, size, region_bytes);
    free(mended);
}

/* ---- A region with changes ---- */

typedef struct base {
    uint8_t *region;
    ferry__header header;
    ferry__entry *entries;
    uint64_t bytes; /* up to where what is read ends: the agent's slot */
} base;

static base lay_out(uint32_t which) {
    ferry__spec spec = fuzz_base_spec(which);
    base made;
    made.region = (uint8_t *)calloc(1, (size_t)spec.header.region_bytes);
    EXPECT(made.region != NULL);
    ferry__spec_write(&spec, (char *)made.region);
    made.header = spec.header, made.entries = spec.entries, spec.entries = NULL;
    made.bytes = spec.header.agent_slot + FERRY__PAGE;
    ferry__spec_clear(&spec);
    return made;
}

static uint64_t place_of(const base *of, uint32_t mark) {
    const ferry__header *header = &of->header;
    uint32_t field = mark % 64 % header->num_fields;
    if (mark >= FUZZ_AT_HIGH) return header->pool_offset + of->entries[field].high_offset;
    if (mark >= FUZZ_AT_LOW) return header->pool_offset + of->entries[field].low_offset;
    if (mark >= FUZZ_AT_PATH) return header->pool_offset + of->entries[field].path_offset;
    if (mark >= FUZZ_AT_ENTRY) return header->fields_offset + (mark - FUZZ_AT_ENTRY) % header->num_fields * sizeof(ferry__entry);
    return mark == FUZZ_AT_AGENT_SLOT ? header->agent_slot : mark == FUZZ_AT_GROUP ? header->groups_offset : 0;
}

/* Each change: a mark, two bytes from there, how many bytes (1, 2, 4 or 8), and those. */
static void take_changes(uint32_t which, fuzz_input *input) {
    static base bases[FUZZ_BASES];
    base *of = &bases[which];
    ferry__header header;
    uint8_t *region;
    if (of->region == NULL) *of = lay_out(which);
    region = (uint8_t *)malloc((size_t)of->bytes);
    EXPECT(region != NULL);
    memcpy(region, of->region, (size_t)of->bytes);
    while (input->at < input->end) {
        uint64_t at = place_of(of, (uint32_t)fuzz_take(input, 1)), value;
        uint32_t bytes;
        at += fuzz_take(input, 2), bytes = 1u << fuzz_take(input, 1) % 4, value = fuzz_take(input, bytes);
        if (at + bytes <= of->bytes) memcpy(region + at, &value, bytes);
    }
    memcpy(&header, region, sizeof header);
    if (header.region_bytes < FERRY__PAGE || header.region_bytes > FUZZ_MOST_BYTES) header.region_bytes = of->header.region_bytes;
    take_both(region, (size_t)of->bytes, header.region_bytes);
    free(region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_input input = {data, data + size};
    if (size > MOST_BYTES || size == 0) return 0;
    fuzz_begin();
    if (data[0] < FUZZ_BASES) take_changes((uint32_t)fuzz_take(&input, 1), &input);
    else take_bytes(data, size);
    fuzz_end();
    return 0;
}
