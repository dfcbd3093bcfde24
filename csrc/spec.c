/* The spec: laying out one's own, taking a foreign one. Offsets are decided in one place (ferry__lay_out) and checked in another
 * (rules.c), on both sides. */
#include "spec.h"

#include "atomics.h"
#include "elements.h"
#include "errors.h"
#include "lane.h"
#include "rules.h"

#include <stdlib.h>
#include <string.h>

#define FERRY__DEFAULT_BLOB_BYTES 16384
#define FERRY__BIG_FIELD 16384 /* from here on a field has pages of its own */

/* ---- The pool ---- */

typedef struct ferry__pool {
    char *data;
    uint64_t bytes, room;
    int failed; /* for want of memory */
} ferry__pool;

/* Appends a copy, 8-aligned and followed by at least one zero; its offset. What it is where there is no memory does not matter. */
static uint64_t ferry__pool_add(ferry__pool *pool, const void *data, uint64_t bytes) {
    uint64_t at = pool->bytes, need = ferry__round_up(at + bytes + 1, 8);
    if (need > pool->room) {
        uint64_t room = need * 2;
        char *grown = (uint64_t)(size_t)room == room ? (char *)realloc(pool->data, (size_t)room) : NULL;
        if (grown == NULL) return pool->failed = 1, 0;
        pool->data = grown, pool->room = room;
    }
    memset(pool->data + at, 0, (size_t)(need - at));
    if (bytes > 0) memcpy(pool->data + at, data, (size_t)bytes);
    pool->bytes = need;
    return at;
}

/* ---- From a description ---- */

static int ferry__scalar_bounds(const ferry_field *field, ferry__entry *entry, ferry__pool *pool, const char *path, ferry_why *why) {
    const int discrete = entry->kind == FERRY_DISCRETE, exact = discrete || entry->kind == FERRY_MULTI_BINARY;
    const uint32_t size = ferry_dtype_bytes(entry->dtype);
    char low[8] = {0}, high[8] = {0};
    int64_t first = 0, last = 1; /* of exact ones */
    double from = field->low, to = field->high, least, most;
    if (discrete) {
        if (field->n < 1 || field->start > INT64_MAX - (field->n - 1))
            return ferry__wrong_field(entry, path, why, ": a Discrete needs n >= 1 (here n = %lld, start = %lld)", (long long)field->n,
                                      (long long)field->start);
        first = field->start, last = field->start + (field->n - 1);
    }
    if (exact) from = (double)first, to = (double)last;
    if (from == 0 && to == 0 && entry->kind == FERRY_MULTI_DISCRETE)
        return ferry__wrong_field(entry, path, why,
                                  ": a MultiDiscrete takes its ranges from low_each and high_each, or low and high; none are set");
    if (from == 0 && to == 0 && entry->kind == FERRY_BOX) return 0;
    if (!(from <= to)) return ferry__wrong_field(entry, path, why, ": low (%g) is above high (%g)", from, to);
    if (entry->dtype == FERRY_F16)
        return ferry__wrong_field(entry, path, why, ": give the bounds of 16-bit floats by low_each and high_each");
    if ((size < 8 || !exact) && ferry__integer_range(entry->dtype, &least, &most) && (from < least || to > most))
        return ferry__wrong_field(entry, path, why,
                                  ": the dtype cannot hold the bounds %g to %g as written; take a wider one, or low_each and high_each",
                                  from, to);
    entry->bounds = FERRY__BOUNDS_SCALAR;
    ferry__element(entry->dtype, from, first, exact, low);
    ferry__element(entry->dtype, to, last, exact, high);
    entry->low_offset = ferry__pool_add(pool, low, size);
    entry->high_offset = ferry__pool_add(pool, high, size);
    return 0;
}

static int ferry__entry_of(const ferry_field *field, uint32_t rows, ferry__entry *entry, ferry__pool *pool, ferry_why *why) {
    static const uint8_t usual[] = {FERRY_F32, FERRY_I64, FERRY_I64, FERRY_I8, FERRY_U8, FERRY_U8, FERRY_U8, FERRY_U8};
    const char *path = field->path != NULL ? field->path : "";
    uint64_t bytes;
    memset(entry, 0, sizeof *entry);
    if (strlen(path) > FERRY__MAX_PATH)
        return ferry__fail(why, FERRY_ESPEC, "the path '%.40s...' is longer than %d bytes", path, FERRY__MAX_PATH);
    entry->path_bytes = (uint16_t)strlen(path);
    entry->role = field->role, entry->kind = field->kind, entry->ndim = field->ndim, entry->capacity = field->capacity;
    entry->dtype = field->dtype != FERRY_DEFAULT || field->kind > FERRY_OTHER ? field->dtype : usual[field->kind];
    memcpy(entry->shape, field->shape, sizeof entry->shape);
    if (ferry__measure_field(entry, rows, path, &bytes, why) < 0) return why->code;
    entry->stride = ferry__stride(entry, bytes);
    entry->path_offset = (uint32_t)ferry__pool_add(pool, path, entry->path_bytes);
    if ((field->low_each == NULL) != (field->high_each == NULL))
        return ferry__wrong_field(entry, path, why, ": give low_each and high_each, or neither");
    if (field->kind >= FERRY_DICT) return 0;
    if (field->low_each != NULL && (field->kind == FERRY_BOX || field->kind == FERRY_MULTI_DISCRETE)) {
        entry->bounds = FERRY__BOUNDS_EACH;
        entry->low_offset = ferry__pool_add(pool, field->low_each, bytes);
        entry->high_offset = ferry__pool_add(pool, field->high_each, bytes);
    } else if (ferry__scalar_bounds(field, entry, pool, path, why) < 0) return why->code;
    return 0;
}

static uint64_t ferry__place_column(uint64_t *end, uint64_t bytes, uint64_t align) {
    uint64_t at = ferry__round_up(*end, align);
    *end = at + bytes;
    return at;
}

/* Small fields follow one another so that a small turn is few cache lines; larger ones begin a line, big ones a page of the region, in which
 * the slot begins at the given place of some page. */
static uint64_t ferry__place_field(uint64_t *end, uint64_t bytes, uint64_t slot_in_page) {
    uint64_t at;
    if (bytes < FERRY__BIG_FIELD) return ferry__place_column(end, bytes, bytes >= FERRY__CACHE_LINE ? FERRY__CACHE_LINE : 8);
    at = ferry__round_up(slot_in_page + *end, FERRY__PAGE) - slot_in_page;
    *end = at + bytes;
    return at;
}

/* The lines that a side polls or writes in each turn begin at different places of their pages. At the same place they would compete for one
 * set of the cache, and a load would wait for a store to the other page, which the processor tells apart only later. */
static const uint64_t ferry__slot_in_page[] = {FERRY__PAGE / 2, sizeof(ferry__line)}; /* by ferry__side - 1 */

/* Decides every offset. Entries are complete but for theirs. */
static void ferry__lay_out(ferry__spec *spec) {
    ferry__header *header = &spec->header;
    ferry__group *group = &spec->group;
    const uint64_t rows = group->num_rows, lane_slots = spec->realtime ? FERRY__LANE_SLOTS : 0;
    uint64_t end[2] = {sizeof(ferry__slot), sizeof(ferry__slot)}, *env = &end[FERRY__ENV - 1], *agent = &end[FERRY__AGENT - 1];
    uint64_t agent_pitch, env_pitch;
    uint32_t i;
    for (i = 0; i < FERRY__COLUMNS; i++) {
        const ferry__column *column = &ferry__columns_of_group[i];
        *ferry__column_offset(group, column) = ferry__place_column(&end[column->writer - 1], column->bytes * rows, column->bytes);
    }
    group->action_moment_offset = spec->realtime ? ferry__place_column(agent, sizeof(ferry__moment), 8) : 0;
    group->frame_moment_offset = spec->realtime ? ferry__place_column(env, sizeof(ferry__moment), 8) : 0;
    *agent = ferry__round_up(*agent, FERRY__CACHE_LINE), *env = ferry__round_up(*env, FERRY__CACHE_LINE);
    for (i = 0; i < header->num_fields; i++)
        if (spec->entries[i].role == FERRY_INFO) spec->entries[i].present_offset = ferry__place_column(env, rows, 1);
    for (i = 0; i < header->num_fields; i++) {
        ferry__entry *entry = &spec->entries[i];
        entry->offset = ferry__place_field(&end[ferry__writer(entry)], entry->stride * rows, ferry__slot_in_page[ferry__writer(entry)]);
    }
    for (i = 0; i < header->num_fields; i++) {
        ferry__entry *entry = &spec->entries[i];
        int wanted = ferry__has_final(group, entry);
        entry->final_offset = wanted ? ferry__place_field(env, entry->stride * rows, ferry__slot_in_page[FERRY__ENV - 1]) : 0;
        entry->final_present_offset = wanted && entry->role == FERRY_INFO ? ferry__place_column(env, rows, 1) : 0;
    }
    header->agent_blob = ferry__place_column(agent, header->blob_bytes, FERRY__CACHE_LINE);
    header->env_blob = ferry__place_column(env, header->blob_bytes, FERRY__CACHE_LINE);

    header->groups_offset = ferry__round_up(sizeof(ferry__header), 64);
    header->fields_offset = header->groups_offset + sizeof(ferry__group);
    header->pool_offset = header->fields_offset + header->num_fields * sizeof(ferry__entry);
    header->agent_offset = ferry__round_up(header->pool_offset + header->pool_bytes, FERRY__PAGE);
    header->agent_slot = header->agent_offset + ferry__slot_in_page[FERRY__AGENT - 1];
    agent_pitch = ferry__lane_pitch(header->agent_blob, header->blob_bytes);
    env_pitch = ferry__lane_pitch(header->env_blob, header->blob_bytes);
    header->action_slots = spec->realtime ? header->agent_slot + agent_pitch : 0;
    header->env_offset = ferry__round_up(header->agent_slot + *agent + lane_slots * agent_pitch, FERRY__PAGE);
    header->agent_bytes = header->env_offset - header->agent_offset;
    header->env_slot[0] = header->env_offset + ferry__slot_in_page[FERRY__ENV - 1];
    header->env_slot[1] = header->env_slot[0] + env_pitch;
    header->frame_slots = spec->realtime ? header->env_slot[1] + env_pitch : 0;
    header->region_bytes = ferry__round_up(header->env_slot[1] + *env + lane_slots * env_pitch, FERRY__PAGE);
    header->env_bytes = header->region_bytes - header->env_offset;
}

/* ---- The public words ---- */

static int ferry__put_into_words(ferry__spec *spec, ferry_why *why) {
    const ferry__header *header = &spec->header;
    ferry_env_desc *desc = &spec->desc;
    uint32_t i;
    spec->fields = (ferry_field *)calloc(header->num_fields + 1, sizeof *spec->fields);
    if (spec->fields == NULL) return ferry__no_memory(why);
    for (i = 0; i < header->num_fields; i++) {
        const ferry__entry *entry = &spec->entries[i];
        ferry_field *field = &spec->fields[i];
        const char *low = spec->pool + entry->low_offset, *high = spec->pool + entry->high_offset;
        field->path = spec->pool + entry->path_offset;
        field->role = entry->role, field->kind = entry->kind, field->dtype = entry->dtype, field->ndim = entry->ndim;
        memcpy(field->shape, entry->shape, sizeof field->shape);
        if (entry->bounds == FERRY__BOUNDS_EACH) field->low_each = low, field->high_each = high;
        if (entry->bounds == FERRY__BOUNDS_SCALAR)
            field->low = ferry__double_at(entry->dtype, low), field->high = ferry__double_at(entry->dtype, high);
        field->capacity = entry->capacity;
        if (entry->kind == FERRY_DISCRETE) {
            uint64_t first, last;
            field->start = ferry__integer_at(entry->dtype, low);
            first = (uint64_t)field->start, last = (uint64_t)ferry__integer_at(entry->dtype, high);
            field->n = (int64_t)(last - first + 1);
            if ((int64_t)last < field->start || field->n < 1)
                return ferry__wrong_field(entry, field->path, why, ": a Discrete without values");
        }
    }
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
    desc->num_rows = spec->group.num_rows;
    desc->max_episode_steps = spec->group.max_episode_steps;
    desc->rows_tick_together = (spec->group.flags & FERRY__TICK_TOGETHER) != 0;
    desc->name = spec->pool + header->name_offset;
    desc->fields = spec->fields, desc->num_fields = header->num_fields;
    desc->blob_format = header->blob_format;
    desc->about.data = spec->pool + header->about_offset, desc->about.size_bytes = header->about_bytes,
    desc->about.format = header->about_format;
    desc->blob_bytes = header->blob_bytes;
    desc->takes_calls = (header->compat & FERRY__OFFERS_CALLS) != 0;
    desc->realtime = (uint32_t)spec->realtime;
    return 0;
}

/* ---- Life cycle ---- */

void ferry__spec_clear(ferry__spec *spec) {
    free(spec->entries);
    free(spec->pool);
    free(spec->fields);
    memset(spec, 0, sizeof *spec);
}

/* Fills in the entries, and all that lies in the pool. */
static int ferry__spec_collect(const ferry_env_desc *desc, const char *name, ferry__spec *spec, ferry__pool *pool, ferry_why *why) {
    ferry__header *header = &spec->header;
    uint32_t i, roles = 0;
    (void)ferry__pool_add(pool, "", 0);
    for (i = 0; i < desc->num_fields; i++) {
        if (ferry__entry_of(&desc->fields[i], spec->group.num_rows, &spec->entries[i], pool, why) < 0) return why->code;
        roles |= 1u << desc->fields[i].role;
    }
    if ((roles & 3) != 3)
        return ferry__fail(why, FERRY_ESPEC, "the environment has no %s field; it needs one or more",
                           ferry__role_name((roles & 1) == 0 ? FERRY_OBSERVATION : FERRY_ACTION));
    header->name_offset = (uint32_t)ferry__pool_add(pool, name, strlen(name));
    header->name_bytes = (uint32_t)strlen(name);
    if (desc->about.format != FERRY_NONE) {
        header->about_offset = (uint32_t)ferry__pool_add(pool, desc->about.data, desc->about.size_bytes);
        header->about_bytes = (uint32_t)desc->about.size_bytes, header->about_format = desc->about.format;
    }
    if (pool->failed) return ferry__no_memory(why);
    if (pool->bytes > UINT32_MAX) return ferry__fail(why, FERRY_ETOOBIG, "names and bounds take more than 4 GiB");
    header->pool_bytes = pool->bytes;
    return 0;
}

int ferry__spec_build(const ferry_env_desc *desc, ferry__spec *out, ferry_why *why) {
    ferry__header *header = &out->header;
    ferry__pool pool = {NULL, 0, 0, 0};
    const char *name = desc->name != NULL ? desc->name : "";
    int err;
    memset(out, 0, sizeof *out);
    if (desc->num_rows > FERRY_MAX_ROWS)
        return ferry__fail(why, FERRY_ESPEC, "an environment of %u rows; at most %d are possible", desc->num_rows, FERRY_MAX_ROWS);
    if (desc->num_fields > FERRY__MAX_FIELDS)
        return ferry__fail(why, FERRY_ESPEC, "the environment has %u fields; at most %d are possible", desc->num_fields, FERRY__MAX_FIELDS);
    if (desc->num_fields > 0 && desc->fields == NULL)
        return ferry__fail(why, FERRY_ESPEC, "num_fields is %u, and fields is NULL; point it at the field table", desc->num_fields);
    if (strlen(name) > FERRY__MAX_PATH)
        return ferry__fail(why, FERRY_ESPEC, "the environment's name is longer than %d bytes", FERRY__MAX_PATH);
    if (desc->about.format != FERRY_NONE && desc->about.size_bytes > FERRY__MAX_ABOUT)
        return ferry__fail(why, FERRY_ESPEC, "about has %llu bytes; at most %d are possible", (ferry__ull)desc->about.size_bytes,
                           FERRY__MAX_ABOUT);
    if (desc->about.format != FERRY_NONE && desc->about.data == NULL && desc->about.size_bytes > 0)
        return ferry__fail(why, FERRY_ESPEC, "about.data is NULL; point it at the map, or set about.format to FERRY_NONE");
    if (desc->blob_format > FERRY_MSGPACK) return ferry__fail(why, FERRY_ESPEC, "blob_format may be FERRY_JSON or FERRY_MSGPACK");
    if (desc->blob_bytes > FERRY_MAX_BLOB) return ferry__fail(why, FERRY_ETOOBIG, "blob_bytes is more than FERRY_MAX_BLOB");
    memcpy(header->magic, FERRY__REGION_MAGIC, 8);
    header->endian = FERRY__ENDIAN, header->abi_major = FERRY__ABI_MAJOR, header->abi_minor = FERRY__ABI_MINOR;
    header->header_bytes = sizeof(ferry__header), header->group_bytes = sizeof(ferry__group), header->field_bytes = sizeof(ferry__entry);
    header->compat = desc->takes_calls != 0 ? FERRY__OFFERS_CALLS : 0;
    header->num_groups = 1, header->num_fields = desc->num_fields;
    header->seq_start = FERRY__SEQ_START;
    header->blob_bytes = ferry__round_up(desc->blob_bytes != 0 ? desc->blob_bytes : FERRY__DEFAULT_BLOB_BYTES, 64);
    header->blob_format = desc->blob_format == FERRY_MSGPACK ? FERRY_MSGPACK : FERRY_JSON;
    header->env_pid = ferry__platform_pid();
    out->group.num_rows = desc->num_rows != 0 ? desc->num_rows : 1, out->group.num_fields = desc->num_fields;
    out->group.max_episode_steps = desc->max_episode_steps;
    out->group.flags = desc->rows_tick_together != 0 ? FERRY__TICK_TOGETHER : 0;
    header->incompat = (out->group.num_rows > 1 ? FERRY__FEATURE_ROWS : 0) | (desc->realtime != 0 ? FERRY__FEATURE_REALTIME : 0);
    out->realtime = desc->realtime != 0;
    if (out->realtime && out->group.num_rows > 1)
        return ferry__fail(why, FERRY_ESPEC, "an environment in real time has one row, not %u; open one for each", out->group.num_rows);
    out->entries = (ferry__entry *)calloc(desc->num_fields + 1, sizeof *out->entries);
    if (out->entries == NULL) return ferry__no_memory(why);
    err = ferry__spec_collect(desc, name, out, &pool, why);
    out->pool = pool.data;
    if (err == 0) {
        ferry__lay_out(out);
        if (ferry__spec_check(out, why) == 0 && ferry__put_into_words(out, why) == 0) return 0;
    }
    ferry__spec_clear(out);
    return why->code;
}

int ferry__spec_choose(ferry__spec *spec, uint32_t autoreset, ferry_why *why) {
    if (autoreset > FERRY_AUTORESET_SAME_STEP)
        return ferry__fail(why, FERRY_EPROTOCOL, "the agent wants the unknown autoreset mode %u", autoreset);
    if (spec->realtime && autoreset != FERRY_AUTORESET_DISABLED)
        return ferry__fail(why, FERRY_EPROTOCOL, "the agent wants autoreset mode %u; in real time there is none", autoreset);
    if ((spec->group.flags & FERRY__AUTORESET_MASK) == autoreset) return 0;
    spec->group.flags = (spec->group.flags & ~FERRY__AUTORESET_MASK) | autoreset;
    spec->header.incompat &= ~FERRY__FEATURE_AUTORESET;
    if (autoreset != FERRY_AUTORESET_DISABLED) spec->header.incompat |= FERRY__FEATURE_AUTORESET;
    ferry__lay_out(spec);
    return ferry__spec_check(spec, why);
}

void ferry__spec_write(const ferry__spec *spec, char *base) {
    const ferry__header *header = &spec->header;
    uint32_t seq = header->seq_start, start = FERRY__LANE_START;
    memcpy(base, header, sizeof *header);
    memcpy(base + header->groups_offset, &spec->group, sizeof spec->group);
    memcpy(base + header->fields_offset, spec->entries, header->num_fields * sizeof *spec->entries);
    memcpy(base + header->pool_offset, spec->pool, (size_t)header->pool_bytes);
    memcpy(base + header->agent_slot, &seq, sizeof seq);
    memcpy(base + header->env_slot[0], &seq, sizeof seq);
    memcpy(base + header->env_slot[1], &seq, sizeof seq);
    memcpy(base + header->env_offset + FERRY__FRAMES_WORD, &start, sizeof start);
    memcpy(base + header->env_offset + FERRY__ACTIONS_WORD, &start, sizeof start);
}

int ferry__spec_take(const char *base, uint64_t readable, uint64_t region_bytes, ferry__spec *out, ferry_why *why) {
    ferry__header *header = &out->header;
    uint32_t i;
    memset(out, 0, sizeof *out);
    ferry__copy_in(header, base, sizeof *header);
    if (ferry__spec_check_header(header, region_bytes, why) < 0) return why->code;
    if (header->groups_offset + header->group_bytes > readable || header->pool_offset + header->pool_bytes > readable ||
        header->fields_offset + (uint64_t)header->field_bytes * header->num_fields > readable)
        return ferry__fail(why, FERRY_ESPEC, "the description in the peer's memory does not lie inside what it shows");
    FERRY__ONCE(out->group, base + header->groups_offset);
    out->entries = (ferry__entry *)calloc(header->num_fields + 1, sizeof *out->entries);
    out->pool = (char *)malloc((size_t)header->pool_bytes + 1);
    if (out->entries == NULL || out->pool == NULL) {
        ferry__no_memory(why);
        goto fail;
    }
    for (i = 0; i < header->num_fields; i++) FERRY__ONCE(out->entries[i], base + header->fields_offset + (uint64_t)header->field_bytes * i);
    ferry__copy_in(out->pool, base + header->pool_offset, (size_t)header->pool_bytes);
    if (ferry__spec_check(out, why) == 0 && ferry__put_into_words(out, why) == 0) return 0;
fail:
    ferry__spec_clear(out);
    return why->code;
}
