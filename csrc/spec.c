/* The spec: laying out one's own, checking a foreign one. Offsets are computed in one place (ferry__lay_out), checked in another
 * (ferry__check_*), and both sides run the check: what the env builds is held to the same rules as what the agent receives. */
#include "spec.h"

#include "atomics.h"
#include "errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Keeps every product and sum of sizes below far from the end of 64 bits. */
#define FERRY__MAX_FIELD_BYTES ((uint64_t)1 << 40)
#define FERRY__DEFAULT_BLOB_BYTES 16384
#define FERRY__BIG_FIELD 16384 /* from here on a field has pages of its own */

uint32_t ferry_dtype_bytes(int dtype) {
    switch (dtype) {
    case FERRY_BOOL:
    case FERRY_I8:
    case FERRY_U8: return 1;
    case FERRY_I16:
    case FERRY_U16:
    case FERRY_F16: return 2;
    case FERRY_I32:
    case FERRY_U32:
    case FERRY_F32: return 4;
    case FERRY_I64:
    case FERRY_U64:
    case FERRY_F64: return 8;
    default: return 0;
    }
}

static uint64_t ferry__round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

static const char *ferry__role_name(int role) {
    return role == FERRY_OBSERVATION ? "observation" : role == FERRY_ACTION ? "action" : role == FERRY_INFO ? "info" : "?";
}

/* Is it the shortest UTF-8 for Unicode scalars, without a zero? */
static int ferry__is_utf8(const char *text, uint64_t bytes) {
    const uint8_t *at = (const uint8_t *)text, *end = at + bytes;
    while (at < end) {
        uint32_t c = *at++, least, more;
        if (c == 0) return 0;
        if (c < 0x80) continue;
        if (c >= 0xC2 && c < 0xE0) more = 1, least = 0x80, c &= 0x1F;
        else if (c >= 0xE0 && c < 0xF0) more = 2, least = 0x800, c &= 0x0F;
        else if (c >= 0xF0 && c < 0xF5) more = 3, least = 0x10000, c &= 0x07;
        else return 0;
        for (; more > 0; more--) {
            if (at == end || (*at & 0xC0) != 0x80) return 0;
            c = c << 6 | (*at++ & 0x3F);
        }
        if (c < least || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return 0;
    }
    return 1;
}

/* ---- The pool ---- */

typedef struct ferry__pool {
    char *data;
    uint64_t bytes, room;
} ferry__pool;

/* Appends a copy, 8-aligned and followed by at least one zero; its offset, or UINT64_MAX for want of memory. */
static uint64_t ferry__pool_add(ferry__pool *pool, const void *data, uint64_t bytes) {
    uint64_t at = pool->bytes, need = ferry__round_up(at + bytes + 1, 8);
    if (need > pool->room) {
        uint64_t room = need * 2;
        char *grown = (uint64_t)(size_t)room == room ? (char *)realloc(pool->data, (size_t)room) : NULL;
        if (grown == NULL) return UINT64_MAX;
        pool->data = grown, pool->room = room;
    }
    memset(pool->data + at, 0, (size_t)(need - at));
    if (bytes > 0) memcpy(pool->data + at, data, (size_t)bytes);
    pool->bytes = need;
    return at;
}

/* ---- From a description ---- */

/* Writes a number as one element; exact only where the dtype can hold it. */
static void ferry__element(int dtype, double value, int64_t exact, int use_exact, char *out) {
#define FERRY__PUT(type)                                                                                                                   \
    do {                                                                                                                                   \
        type v = use_exact ? (type)exact : (type)value;                                                                                    \
        memcpy(out, &v, sizeof v);                                                                                                         \
    } while (0)
    switch (dtype) {
    case FERRY_BOOL:
    case FERRY_U8: FERRY__PUT(uint8_t); break;
    case FERRY_I8: FERRY__PUT(int8_t); break;
    case FERRY_I16: FERRY__PUT(int16_t); break;
    case FERRY_U16: FERRY__PUT(uint16_t); break;
    case FERRY_I32: FERRY__PUT(int32_t); break;
    case FERRY_U32: FERRY__PUT(uint32_t); break;
    case FERRY_I64: FERRY__PUT(int64_t); break;
    case FERRY_U64: FERRY__PUT(uint64_t); break;
    case FERRY_F32: FERRY__PUT(float); break;
    case FERRY_F64: FERRY__PUT(double); break;
    default: break;
    }
#undef FERRY__PUT
}

/* The range of an integer dtype as doubles that convert back without overflow. */
static int ferry__integer_range(int dtype, double *low, double *high) {
    static const double lows[] = {0, -128.0, 0, -32768.0, 0, -2147483648.0, 0, -9223372036854775808.0, 0};
    static const double highs[] = {1, 127, 255, 32767, 65535, 2147483647, 4294967295.0, 9223372036854774784.0, 18446744073709549568.0};
    if (dtype < FERRY_BOOL || dtype > FERRY_U64) return 0;
    *low = lows[dtype - FERRY_BOOL], *high = highs[dtype - FERRY_BOOL];
    return 1;
}

static int ferry__scalar_bounds(const ferry_field *field, ferry__entry *entry, ferry__pool *pool, const char *path, ferry_why *why) {
    char low[8] = {0}, high[8] = {0};
    uint32_t size = ferry_dtype_bytes(entry->dtype);
    double least, most;
    entry->bounds = FERRY__BOUNDS_SCALAR;
    if (entry->kind == FERRY_DISCRETE) {
        int64_t last;
        if (field->n < 1 || field->start > INT64_MAX - (field->n - 1))
            return ferry__fail(why, FERRY_ESPEC, "%s '%s': a Discrete needs n >= 1 (here n = %lld, start = %lld)",
                               ferry__role_name(entry->role), path, (long long)field->n, (long long)field->start);
        last = field->start + (field->n - 1);
        ferry__element(entry->dtype, 0, field->start, 1, low);
        ferry__element(entry->dtype, 0, last, 1, high);
        if (ferry__integer_range(entry->dtype, &least, &most) && size < 8 && ((double)field->start < least || (double)last > most))
            return ferry__fail(why, FERRY_ESPEC, "%s '%s': the dtype cannot hold the values %lld to %lld", ferry__role_name(entry->role),
                               path, (long long)field->start, (long long)last);
    } else if (entry->kind == FERRY_MULTI_BINARY) {
        ferry__element(entry->dtype, 0, 1, 1, high);
    } else {
        if (field->low == 0 && field->high == 0 && entry->kind == FERRY_MULTI_DISCRETE)
            return ferry__fail(why, FERRY_ESPEC,
                               "%s '%s': a MultiDiscrete takes its ranges from low_each and high_each, or low and high; none are set",
                               ferry__role_name(entry->role), path);
        if (field->low == 0 && field->high == 0 && entry->kind == FERRY_BOX) {
            entry->bounds = FERRY__BOUNDS_NONE;
            return 0;
        }
        if (!(field->low <= field->high))
            return ferry__fail(why, FERRY_ESPEC, "%s '%s': low (%g) is above high (%g)", ferry__role_name(entry->role), path, field->low,
                               field->high);
        if (entry->dtype == FERRY_F16)
            return ferry__fail(why, FERRY_ESPEC, "%s '%s': give the bounds of 16-bit floats by low_each and high_each",
                               ferry__role_name(entry->role), path);
        if (ferry__integer_range(entry->dtype, &least, &most) && (field->low < least || field->high > most))
            return ferry__fail(why, FERRY_ESPEC,
                               "%s '%s': the dtype cannot hold the bounds %g to %g as written; use low_each and high_each",
                               ferry__role_name(entry->role), path, field->low, field->high);
        ferry__element(entry->dtype, field->low, 0, 0, low);
        ferry__element(entry->dtype, field->high, 0, 0, high);
    }
    entry->low_offset = ferry__pool_add(pool, low, size);
    entry->high_offset = ferry__pool_add(pool, high, size);
    return 0;
}

/* What a row of a field takes, if one element has so many bytes. */
static uint64_t ferry__stride(const ferry__entry *entry, uint64_t element_bytes) {
    if (entry->kind == FERRY_DICT || entry->kind == FERRY_TUPLE || entry->kind == FERRY_OTHER) return 0;
    return entry->capacity == 0 ? element_bytes : ferry__round_up(sizeof(ferry_list) + element_bytes * entry->capacity, 8);
}

static int ferry__entry_of(const ferry_field *field, ferry__entry *entry, ferry__pool *pool, ferry_why *why) {
    static const uint8_t usual[] = {FERRY_F32, FERRY_I64, FERRY_I64, FERRY_I8, FERRY_U8, FERRY_U8, FERRY_U8, FERRY_U8};
    const char *path = field->path != NULL ? field->path : "";
    uint64_t bytes;
    uint32_t i;
    memset(entry, 0, sizeof *entry);
    if (strlen(path) > FERRY__MAX_PATH)
        return ferry__fail(why, FERRY_ESPEC, "the path '%.40s...' is longer than %d bytes", path, FERRY__MAX_PATH);
    if (field->role > FERRY_INFO) return ferry__fail(why, FERRY_ESPEC, "field '%s' has the unknown role %d", path, field->role);
    if (field->kind > FERRY_OTHER)
        return ferry__fail(why, FERRY_ESPEC, "%s '%s' has the unknown kind %d", ferry__role_name(field->role), path, field->kind);
    if (field->ndim > FERRY_MAX_NDIM)
        return ferry__fail(why, FERRY_ESPEC, "%s '%s' has %d dimensions; %d are possible", ferry__role_name(field->role), path, field->ndim,
                           FERRY_MAX_NDIM);
    entry->path_bytes = (uint16_t)strlen(path);
    entry->role = field->role, entry->kind = field->kind, entry->ndim = field->ndim;
    entry->dtype = field->dtype != FERRY_DEFAULT ? field->dtype : usual[field->kind];
    bytes = ferry_dtype_bytes(entry->dtype);
    if (bytes == 0)
        return ferry__fail(why, FERRY_ESPEC, "%s '%s' has the unknown dtype %d", ferry__role_name(field->role), path, field->dtype);
    for (i = 0; i < field->ndim; i++) {
        entry->shape[i] = field->shape[i];
        if (bytes != 0 && field->shape[i] > FERRY__MAX_FIELD_BYTES / bytes)
            return ferry__fail(why, FERRY_ETOOBIG, "%s '%s' is larger than %llu bytes", ferry__role_name(field->role), path,
                               (unsigned long long)FERRY__MAX_FIELD_BYTES);
        bytes *= field->shape[i];
    }
    if (field->capacity != 0 && bytes > FERRY__MAX_FIELD_BYTES / field->capacity)
        return ferry__fail(why, FERRY_ETOOBIG, "%s '%s' is larger than %llu bytes", ferry__role_name(field->role), path,
                           (unsigned long long)FERRY__MAX_FIELD_BYTES);
    entry->capacity = field->capacity;
    entry->stride = ferry__stride(entry, bytes);
    entry->path_offset = (uint32_t)ferry__pool_add(pool, path, entry->path_bytes);
    if ((field->low_each == NULL) != (field->high_each == NULL))
        return ferry__fail(why, FERRY_ESPEC, "%s '%s': give low_each and high_each, or neither", ferry__role_name(field->role), path);
    if (field->kind >= FERRY_DICT) return 0;
    if (field->low_each != NULL && (field->kind == FERRY_BOX || field->kind == FERRY_MULTI_DISCRETE)) {
        entry->bounds = FERRY__BOUNDS_EACH;
        entry->low_offset = ferry__pool_add(pool, field->low_each, bytes);
        entry->high_offset = ferry__pool_add(pool, field->high_each, bytes);
    } else if (ferry__scalar_bounds(field, entry, pool, path, why) < 0) return why->code;
    if (entry->low_offset == UINT64_MAX || entry->high_offset == UINT64_MAX) return ferry__fail(why, FERRY_ENOMEM, "out of memory");
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
#define FERRY__AGENT_SLOT_IN_PAGE ((uint64_t)sizeof(ferry__line))
#define FERRY__ENV_SLOT_IN_PAGE ((uint64_t)FERRY__PAGE / 2)

/* Decides every offset. Entries are complete but for theirs. */
static void ferry__lay_out(ferry__spec *spec) {
    ferry__header *header = &spec->header;
    ferry__group *group = &spec->group;
    uint64_t rows = group->num_rows, agent = sizeof(ferry__slot), env = sizeof(ferry__slot);
    uint32_t i;
    group->seed_offset = ferry__place_column(&agent, 8 * rows, 8);
    group->rows_offset = ferry__place_column(&agent, 4 * rows, 4);
    group->reward_offset = ferry__place_column(&env, 8 * rows, 8);
    group->episode_offset = ferry__place_column(&env, 8 * rows, 8);
    group->terminated_offset = ferry__place_column(&env, rows, 1);
    group->truncated_offset = ferry__place_column(&env, rows, 1);
    group->status_offset = ferry__place_column(&env, rows, 1);
    group->active_offset = ferry__place_column(&env, rows, 1);
    agent = ferry__round_up(agent, FERRY__CACHE_LINE), env = ferry__round_up(env, FERRY__CACHE_LINE);
    for (i = 0; i < header->num_fields; i++)
        if (spec->entries[i].role == FERRY_INFO) spec->entries[i].present_offset = ferry__place_column(&env, rows, 1);
    for (i = 0; i < header->num_fields; i++) {
        ferry__entry *entry = &spec->entries[i];
        if (entry->role == FERRY_ACTION) entry->offset = ferry__place_field(&agent, entry->stride * rows, FERRY__AGENT_SLOT_IN_PAGE);
        else entry->offset = ferry__place_field(&env, entry->stride * rows, FERRY__ENV_SLOT_IN_PAGE);
    }
    for (i = 0; i < header->num_fields; i++) {
        ferry__entry *entry = &spec->entries[i];
        int wanted = entry->role != FERRY_ACTION && (group->flags & FERRY__AUTORESET_MASK) == FERRY_AUTORESET_SAME_STEP;
        entry->final_offset = wanted ? ferry__place_field(&env, entry->stride * rows, FERRY__ENV_SLOT_IN_PAGE) : 0;
        entry->final_present_offset = wanted && entry->role == FERRY_INFO ? ferry__place_column(&env, rows, 1) : 0;
    }
    header->agent_blob = ferry__place_column(&agent, header->blob_bytes, FERRY__CACHE_LINE);
    header->env_blob = ferry__place_column(&env, header->blob_bytes, FERRY__CACHE_LINE);

    header->groups_offset = ferry__round_up(sizeof(ferry__header), 64);
    header->fields_offset = header->groups_offset + sizeof(ferry__group);
    header->pool_offset = header->fields_offset + header->num_fields * sizeof(ferry__entry);
    header->agent_offset = ferry__round_up(header->pool_offset + header->pool_bytes, FERRY__PAGE);
    header->agent_slot = header->agent_offset + FERRY__AGENT_SLOT_IN_PAGE;
    header->env_offset = ferry__round_up(header->agent_slot + agent, FERRY__PAGE);
    header->agent_bytes = header->env_offset - header->agent_offset;
    header->env_slot[0] = header->env_offset + FERRY__ENV_SLOT_IN_PAGE;
    header->env_slot[1] = header->env_slot[0] + ferry__round_up(env, FERRY__PAGE);
    header->region_bytes = ferry__round_up(header->env_slot[1] + env, FERRY__PAGE);
    header->env_bytes = header->region_bytes - header->env_offset;
}

/* ---- Checking ---- */

/* Is [offset, offset + bytes) inside [0, end), and offset aligned? */
static int ferry__inside(uint64_t offset, uint64_t bytes, uint64_t end, uint64_t align) {
    return offset % align == 0 && offset <= end && bytes <= end - offset;
}

static uint64_t ferry__element_order(int dtype, const char *at);

/* Is every lower bound at most its upper one? */
static int ferry__bounds_in_order(const ferry__entry *entry, const char *low, const char *high, uint64_t bytes) {
    uint64_t size = ferry_dtype_bytes(entry->dtype), at;
    for (at = 0; at + size <= bytes; at += size)
        if (ferry__element_order(entry->dtype, low + at) > ferry__element_order(entry->dtype, high + at)) return 0;
    return 1;
}

/* Does one path name a place inside what the other says is a leaf? */
static int ferry__is_inside(const char *leaf, uint64_t leaf_bytes, const char *path, uint64_t path_bytes) {
    return path_bytes > leaf_bytes && memcmp(leaf, path, (size_t)leaf_bytes) == 0 &&
           (leaf_bytes == 0 || path[leaf_bytes] == '/' || path[leaf_bytes] == '#');
}

/* Is there room for what a field holds at the end of an episode, where an autoreset would overwrite it, and only there? */
static int ferry__final_is_inside(const ferry__spec *spec, const ferry__entry *entry, uint64_t env_end) {
    uint64_t rows = spec->group.num_rows;
    int wanted = entry->role != FERRY_ACTION && (spec->group.flags & FERRY__AUTORESET_MASK) == FERRY_AUTORESET_SAME_STEP;
    if (!wanted) return entry->final_offset == 0 && entry->final_present_offset == 0;
    if (entry->final_offset < sizeof(ferry__slot) || !ferry__inside(entry->final_offset, entry->stride * rows, env_end, 8)) return 0;
    if (entry->role != FERRY_INFO) return entry->final_present_offset == 0;
    return entry->final_present_offset >= sizeof(ferry__slot) && ferry__inside(entry->final_present_offset, rows, env_end, 1);
}

static int ferry__check_entry(const ferry__spec *spec, const ferry__entry *entry, uint64_t agent_end, uint64_t env_end, ferry_why *why) {
    uint64_t rows = spec->group.num_rows, pool = spec->header.pool_bytes, bytes = ferry_dtype_bytes(entry->dtype), size = bytes, bound;
    uint64_t end = entry->role == FERRY_ACTION ? agent_end : env_end;
    const char *path;
    uint32_t i;
    if (!ferry__inside(entry->path_offset, (uint64_t)entry->path_bytes + 1, pool, 1) ||
        spec->pool[entry->path_offset + entry->path_bytes] != 0 || entry->path_bytes > FERRY__MAX_PATH ||
        !ferry__is_utf8(spec->pool + entry->path_offset, entry->path_bytes))
        return ferry__fail(why, FERRY_ESPEC, "a field's path is not valid UTF-8 text of at most %d bytes", FERRY__MAX_PATH);
    path = spec->pool + entry->path_offset;
    if (entry->role > FERRY_INFO || entry->kind > FERRY_OTHER || bytes == 0 || entry->ndim > FERRY_MAX_NDIM ||
        entry->bounds > FERRY__BOUNDS_EACH)
        return ferry__fail(why, FERRY_ESPEC, "field '%s' has an unknown role, kind, dtype or bounds (%d, %d, %d, %d)", path, entry->role,
                           entry->kind, entry->dtype, entry->bounds);
    if ((entry->kind == FERRY_DISCRETE && entry->ndim != 0) ||
        (entry->kind >= FERRY_DISCRETE && entry->kind <= FERRY_MULTI_BINARY && (entry->dtype < FERRY_I8 || entry->dtype > FERRY_U64)) ||
        (entry->kind >= FERRY_DISCRETE && entry->kind <= FERRY_MULTI_DISCRETE && entry->bounds == FERRY__BOUNDS_NONE))
        return ferry__fail(why, FERRY_ESPEC, "%s '%s': shape, dtype or bounds do not fit its kind", ferry__role_name(entry->role), path);
    if (entry->kind >= FERRY_DICT && (entry->ndim != 0 || entry->bounds != FERRY__BOUNDS_NONE ||
                                      (entry->capacity != 0) != (entry->kind == FERRY_STRING) || ferry_dtype_bytes(entry->dtype) != 1))
        return ferry__fail(why, FERRY_ESPEC,
                           "%s '%s': a string has a capacity, an empty Dict or Tuple has none, and all of them neither shape nor bounds",
                           ferry__role_name(entry->role), path);
    if (entry->role == FERRY_INFO && entry->kind == FERRY_OTHER)
        return ferry__fail(why, FERRY_ESPEC, "info '%s': an info of kind FERRY_OTHER needs no field; put it into the blob", path);
    for (i = 0; i < entry->ndim; i++) {
        if (bytes != 0 && entry->shape[i] > FERRY__MAX_FIELD_BYTES / bytes)
            return ferry__fail(why, FERRY_ESPEC, "field '%s' is too large", path);
        bytes *= entry->shape[i];
    }
    if (entry->capacity != 0 && bytes > FERRY__MAX_FIELD_BYTES / entry->capacity)
        return ferry__fail(why, FERRY_ESPEC, "field '%s' is too large", path);
    if (entry->stride != ferry__stride(entry, bytes) || !ferry__inside(entry->offset, entry->stride * rows, end, 8) ||
        entry->offset < sizeof(ferry__slot))
        return ferry__fail(why, FERRY_ESPEC, "%s '%s' does not lie inside its slot", ferry__role_name(entry->role), path);
    if (entry->stride * rows > FERRY__MAX_FIELD_BYTES) return ferry__fail(why, FERRY_ESPEC, "field '%s' is too large", path);
    if (entry->role == FERRY_INFO &&
        (entry->present_offset < sizeof(ferry__slot) || !ferry__inside(entry->present_offset, rows, env_end, 1)))
        return ferry__fail(why, FERRY_ESPEC, "info '%s' has no presence inside its slot", path);
    if (!ferry__final_is_inside(spec, entry, env_end))
        return ferry__fail(why, FERRY_ESPEC, "%s '%s' has no room for the end of an episode inside its slot, or has it without need",
                           ferry__role_name(entry->role), path);
    bound = entry->bounds == FERRY__BOUNDS_EACH ? bytes : entry->bounds == FERRY__BOUNDS_SCALAR ? size : 0;
    if (!ferry__inside(entry->low_offset, bound, pool, 8) || !ferry__inside(entry->high_offset, bound, pool, 8))
        return ferry__fail(why, FERRY_ESPEC, "%s '%s': its bounds do not lie inside the pool", ferry__role_name(entry->role), path);
    if (!ferry__bounds_in_order(entry, spec->pool + entry->low_offset, spec->pool + entry->high_offset, bound))
        return ferry__fail(why, FERRY_ESPEC, "%s '%s': a lower bound is above its upper bound", ferry__role_name(entry->role), path);
    if (entry->role == FERRY_INFO && entry->path_bytes == 0)
        return ferry__fail(why, FERRY_ESPEC, "an info needs a path: its key in the info dict");
    return 0;
}

static int ferry__check_header(const ferry__header *header, uint64_t region_bytes, ferry_why *why) {
    if (memcmp(header->magic, FERRY__REGION_MAGIC, 8) != 0)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer's region does not begin with Ferry's mark");
    if (header->endian != FERRY__ENDIAN) return ferry__fail(why, FERRY_EVERSION, "the peer's region has another byte order");
    if (header->abi_major != FERRY__ABI_MAJOR || (header->incompat & ~FERRY__FEATURES_KNOWN) != 0)
        return ferry__fail(why, FERRY_EVERSION,
                           "the peer's region has protocol %d.%d with features 0x%llx; this side knows %d.x and 0x%llx", header->abi_major,
                           header->abi_minor, (unsigned long long)header->incompat, FERRY__ABI_MAJOR,
                           (unsigned long long)FERRY__FEATURES_KNOWN);
    if (header->region_bytes != region_bytes || header->header_bytes < sizeof(ferry__header) ||
        header->group_bytes < sizeof(ferry__group) || header->field_bytes < sizeof(ferry__entry) || header->header_bytes > FERRY__PAGE ||
        header->group_bytes > FERRY__PAGE || header->field_bytes > FERRY__PAGE || header->num_groups != 1 ||
        header->num_fields > FERRY__MAX_FIELDS)
        return ferry__fail(why, FERRY_ESPEC, "the sizes in the peer's region do not fit together");
    if (!ferry__inside(header->groups_offset, header->group_bytes, region_bytes, 8) ||
        !ferry__inside(header->fields_offset, (uint64_t)header->field_bytes * header->num_fields, region_bytes, 8) ||
        !ferry__inside(header->pool_offset, header->pool_bytes, region_bytes, 8) ||
        !ferry__inside(header->agent_offset, header->agent_bytes, region_bytes, FERRY__PAGE) ||
        !ferry__inside(header->env_offset, header->env_bytes, region_bytes, FERRY__PAGE) || header->agent_bytes % FERRY__PAGE != 0 ||
        header->agent_bytes == 0 || header->env_bytes == 0 || header->agent_offset < header->header_bytes ||
        header->env_offset < header->header_bytes ||
        (header->agent_offset < header->env_offset + header->env_bytes && header->env_offset < header->agent_offset + header->agent_bytes))
        return ferry__fail(why, FERRY_ESPEC, "the parts of the peer's region do not lie inside it");
    return 0;
}

/* The bytes from the slot to the end of its part, or 0 if the slot is not in there. */
static uint64_t ferry__slot_room(uint64_t slot, uint64_t part, uint64_t part_bytes) {
    uint64_t first = part + sizeof(ferry__line);
    if (slot % 64 != 0 || slot < first || slot > part + part_bytes || part + part_bytes - slot < sizeof(ferry__slot)) return 0;
    return part + part_bytes - slot;
}

/* Integers that engines index with, counts among them. */
static int ferry__is_checked(const ferry__entry *entry) {
    return entry->capacity != 0 ||
           (entry->kind >= FERRY_DISCRETE && entry->kind <= FERRY_MULTI_BINARY && entry->bounds != FERRY__BOUNDS_NONE);
}

static void ferry__extend(uint64_t *end, uint64_t to) {
    if (to > *end) *end = to;
}

/* Everything that is used later, once header, group, entries and pool are private. */
static int ferry__check(ferry__spec *spec, ferry_why *why) {
    const ferry__header *header = &spec->header;
    const ferry__group *group = &spec->group;
    uint64_t rows = group->num_rows, agent, env[2], least, columns[8][2], end;
    uint32_t i, j;
    agent = ferry__slot_room(header->agent_slot, header->agent_offset, header->agent_bytes);
    env[0] = ferry__slot_room(header->env_slot[0], header->env_offset, header->env_bytes);
    env[1] = ferry__slot_room(header->env_slot[1], header->env_offset, header->env_bytes);
    least = env[0] < env[1] ? env[0] : env[1];
    if (agent == 0 || least == 0) return ferry__fail(why, FERRY_ESPEC, "a slot does not lie inside its part of the region");
    if (rows == 0 || rows > FERRY_MAX_ROWS)
        return ferry__fail(why, FERRY_ESPEC, "an environment of %llu rows; 1 to %d are possible", (unsigned long long)rows, FERRY_MAX_ROWS);
    if (group->num_fields != header->num_fields || group->first_field != 0 || (group->flags & ~FERRY__FLAGS_KNOWN) != 0 ||
        (group->flags & FERRY__AUTORESET_MASK) > FERRY_AUTORESET_SAME_STEP)
        return ferry__fail(why, FERRY_ESPEC, "the fields or flags of the group do not fit together");
    spec->num_checked = spec->num_infos = 0;
    columns[0][0] = group->seed_offset, columns[0][1] = 8, columns[1][0] = group->rows_offset, columns[1][1] = 4;
    columns[2][0] = group->reward_offset, columns[2][1] = 8, columns[3][0] = group->episode_offset, columns[3][1] = 8;
    columns[4][0] = group->terminated_offset, columns[5][0] = group->truncated_offset;
    columns[6][0] = group->status_offset, columns[7][0] = group->active_offset;
    columns[4][1] = columns[5][1] = columns[6][1] = columns[7][1] = 1;
    spec->parts_begin = header->agent_offset < header->env_offset ? header->agent_offset : header->env_offset;
    spec->columns_end[0] = spec->columns_end[1] = sizeof(ferry__slot);
    for (i = 0; i < 8; i++) {
        if (columns[i][0] < sizeof(ferry__slot) ||
            !ferry__inside(columns[i][0], columns[i][1] * rows, i < 2 ? agent : least, columns[i][1]))
            return ferry__fail(why, FERRY_ESPEC, "a column of the group does not lie inside its slot");
        ferry__extend(&spec->columns_end[(i < 2 ? FERRY__AGENT : FERRY__ENV) - 1], columns[i][0] + columns[i][1] * rows);
    }
    if (header->agent_blob < sizeof(ferry__slot) || header->env_blob < sizeof(ferry__slot) ||
        !ferry__inside(header->agent_blob, header->blob_bytes, agent, 8) || !ferry__inside(header->env_blob, header->blob_bytes, least, 8))
        return ferry__fail(why, FERRY_ESPEC, "the room for blobs does not lie inside its slot");
    if (!ferry__inside(header->name_offset, (uint64_t)header->name_bytes + 1, header->pool_bytes, 1) ||
        spec->pool[header->name_offset + header->name_bytes] != 0 ||
        !ferry__is_utf8(spec->pool + header->name_offset, header->name_bytes) ||
        !ferry__inside(header->about_offset, header->about_bytes, header->pool_bytes, 1) || header->about_bytes > FERRY__MAX_ABOUT ||
        header->about_format > FERRY_TEXT || (header->blob_format != FERRY_JSON && header->blob_format != FERRY_MSGPACK))
        return ferry__fail(why, FERRY_ESPEC, "the name or the description of the environment is not valid");
    for (i = 0; i < header->num_fields; i++) {
        const ferry__entry *entry = &spec->entries[i];
        if (ferry__check_entry(spec, entry, agent, least, why) < 0) return why->code;
        spec->num_infos += entry->role == FERRY_INFO;
        if (entry->role == FERRY_INFO) ferry__extend(&spec->columns_end[FERRY__ENV - 1], entry->present_offset + rows);
        for (j = 0; j < i; j++) {
            const ferry__entry *other = &spec->entries[j];
            if (other->role == entry->role && other->path_bytes == entry->path_bytes &&
                memcmp(spec->pool + other->path_offset, spec->pool + entry->path_offset, entry->path_bytes) == 0)
                return ferry__fail(why, FERRY_ESPEC, "two %ss have the path '%s'", ferry__role_name(entry->role),
                                   spec->pool + entry->path_offset);
            if (other->role == entry->role && entry->role != FERRY_INFO &&
                (ferry__is_inside(spec->pool + other->path_offset, other->path_bytes, spec->pool + entry->path_offset, entry->path_bytes) ||
                 ferry__is_inside(spec->pool + entry->path_offset, entry->path_bytes, spec->pool + other->path_offset, other->path_bytes)))
                return ferry__fail(why, FERRY_ESPEC,
                                   "the %ss '%s' and '%s' contradict each other: one place cannot be a leaf and hold others",
                                   ferry__role_name(entry->role), spec->pool + other->path_offset, spec->pool + entry->path_offset);
        }
    }
    for (i = 0; i < 2; i++) spec->fields_end[i] = spec->columns_end[i];
    for (i = 0; i < header->num_fields; i++) {
        const ferry__entry *entry = &spec->entries[i];
        uint32_t writer = (entry->role == FERRY_ACTION ? FERRY__AGENT : FERRY__ENV) - 1;
        if (entry->offset < spec->columns_end[writer])
            return ferry__fail(why, FERRY_ESPEC, "%s '%s' lies before the end of the columns", ferry__role_name(entry->role),
                               spec->pool + entry->path_offset);
        end = (entry->final_offset > entry->offset ? entry->final_offset : entry->offset) + entry->stride * rows;
        if (entry->final_present_offset != 0) ferry__extend(&spec->fields_end[writer], entry->final_present_offset + rows);
        if (entry->role == FERRY_ACTION && ferry__is_checked(entry)) spec->num_checked++;
        ferry__extend(&spec->fields_end[writer], end);
    }
    if (header->agent_blob < spec->fields_end[FERRY__AGENT - 1] || header->env_blob < spec->fields_end[FERRY__ENV - 1])
        return ferry__fail(why, FERRY_ESPEC, "the room for blobs begins before the end of the fields");
    return 0;
}

/* ---- The public words ---- */

static int64_t ferry__integer_at(int dtype, const char *at) {
#define FERRY__GET(type)                                                                                                                   \
    do {                                                                                                                                   \
        type v;                                                                                                                            \
        memcpy(&v, at, sizeof v);                                                                                                          \
        return (int64_t)v;                                                                                                                 \
    } while (0)
    switch (dtype) {
    case FERRY_BOOL:
    case FERRY_U8: FERRY__GET(uint8_t);
    case FERRY_I8: FERRY__GET(int8_t);
    case FERRY_I16: FERRY__GET(int16_t);
    case FERRY_U16: FERRY__GET(uint16_t);
    case FERRY_I32: FERRY__GET(int32_t);
    case FERRY_U32: FERRY__GET(uint32_t);
    case FERRY_I64: FERRY__GET(int64_t);
    case FERRY_U64: FERRY__GET(uint64_t);
    default: return 0;
    }
#undef FERRY__GET
}

static double ferry__double_at(int dtype, const char *at) {
    float single;
    double value;
    uint64_t large;
    if (dtype == FERRY_F32) return memcpy(&single, at, sizeof single), (double)single;
    if (dtype == FERRY_F64) return memcpy(&value, at, sizeof value), value;
    if (dtype == FERRY_U64) return memcpy(&large, at, sizeof large), (double)large;
    return (double)ferry__integer_at(dtype, at);
}

/* The element as an unsigned number that is ordered as the elements are. */
static uint64_t ferry__element_order(int dtype, const char *at) {
    const uint64_t sign = (uint64_t)1 << 63;
    uint64_t bits = 0;
    if (dtype == FERRY_F16 || dtype == FERRY_F32 || dtype == FERRY_F64) {
        uint32_t bytes = ferry_dtype_bytes(dtype), shift = 64 - 8 * bytes;
        uint16_t half;
        uint32_t single;
        if (bytes == 2) memcpy(&half, at, 2), bits = half;
        else if (bytes == 4) memcpy(&single, at, 4), bits = single;
        else memcpy(&bits, at, 8);
        bits <<= shift;
        if (bits == sign) bits = 0; /* -0 is 0 */
        return (bits & sign) != 0 ? ~bits : bits | sign;
    }
    bits = (uint64_t)ferry__integer_at(dtype, at);
    return dtype == FERRY_U64 ? bits : bits ^ sign;
}

static int ferry__put_into_words(ferry__spec *spec, ferry_why *why) {
    const ferry__header *header = &spec->header;
    ferry_env_desc *desc = &spec->desc;
    uint32_t i;
    spec->fields = (ferry_field *)calloc(header->num_fields + 1, sizeof *spec->fields);
    if (spec->fields == NULL) return ferry__fail(why, FERRY_ENOMEM, "out of memory");
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
                return ferry__fail(why, FERRY_ESPEC, "%s '%s': a Discrete without values", ferry__role_name(entry->role), field->path);
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
    return 0;
}

/* ---- Life cycle ---- */

int ferry__spec_build(const ferry_env_desc *desc, ferry__spec *out, ferry_why *why) {
    ferry__header *header = &out->header;
    ferry__pool pool = {NULL, 0, 0};
    const char *name = desc->name != NULL ? desc->name : "";
    uint32_t i, roles = 0;
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
        return ferry__fail(why, FERRY_ESPEC, "about has %llu bytes; at most %d are possible", (unsigned long long)desc->about.size_bytes,
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
    header->incompat = out->group.num_rows > 1 ? FERRY__FEATURE_ROWS : 0;
    out->entries = (ferry__entry *)calloc(desc->num_fields + 1, sizeof *out->entries);
    if (out->entries == NULL || ferry__pool_add(&pool, "", 0) == UINT64_MAX) {
        ferry__fail(why, FERRY_ENOMEM, "out of memory");
        goto fail;
    }
    for (i = 0; i < desc->num_fields; i++) {
        if (ferry__entry_of(&desc->fields[i], &out->entries[i], &pool, why) < 0) goto fail;
        if (out->entries[i].stride > FERRY__MAX_FIELD_BYTES / out->group.num_rows) {
            ferry__fail(why, FERRY_ETOOBIG, "%s '%s' of %u rows is larger than %llu bytes", ferry__role_name(desc->fields[i].role),
                        desc->fields[i].path != NULL ? desc->fields[i].path : "", out->group.num_rows,
                        (unsigned long long)FERRY__MAX_FIELD_BYTES);
            goto fail;
        }
    }
    for (i = 0; i < desc->num_fields; i++) roles |= 1u << desc->fields[i].role;
    if ((roles & 3) != 3) {
        ferry__fail(why, FERRY_ESPEC, "the environment has no %s field; it needs one or more",
                    ferry__role_name((roles & 1) == 0 ? FERRY_OBSERVATION : FERRY_ACTION));
        goto fail;
    }
    header->name_offset = (uint32_t)ferry__pool_add(&pool, name, strlen(name));
    header->name_bytes = (uint32_t)strlen(name);
    if (desc->about.format != FERRY_NONE) {
        header->about_offset = (uint32_t)ferry__pool_add(&pool, desc->about.data, desc->about.size_bytes);
        header->about_bytes = (uint32_t)desc->about.size_bytes, header->about_format = desc->about.format;
    }
    if (pool.bytes > UINT32_MAX) {
        ferry__fail(why, FERRY_ETOOBIG, "names and bounds take more than 4 GiB");
        goto fail;
    }
    out->pool = pool.data, header->pool_bytes = pool.bytes;
    ferry__lay_out(out);
    if (ferry__check(out, why) == 0 && ferry__put_into_words(out, why) == 0) return 0;
    pool.data = NULL;
fail:
    free(pool.data);
    ferry__spec_clear(out);
    return why->code;
}

int ferry__spec_choose(ferry__spec *spec, uint32_t autoreset, ferry_why *why) {
    if (autoreset > FERRY_AUTORESET_SAME_STEP)
        return ferry__fail(why, FERRY_EPROTOCOL, "the agent wants the unknown autoreset mode %u", autoreset);
    if ((spec->group.flags & FERRY__AUTORESET_MASK) == autoreset) return 0;
    spec->group.flags = (spec->group.flags & ~FERRY__AUTORESET_MASK) | autoreset;
    spec->header.incompat &= ~FERRY__FEATURE_AUTORESET;
    if (autoreset != FERRY_AUTORESET_DISABLED) spec->header.incompat |= FERRY__FEATURE_AUTORESET;
    ferry__lay_out(spec);
    return ferry__check(spec, why);
}

void ferry__spec_write(const ferry__spec *spec, char *base) {
    const ferry__header *header = &spec->header;
    uint32_t seq = header->seq_start;
    memcpy(base, header, sizeof *header);
    memcpy(base + header->groups_offset, &spec->group, sizeof spec->group);
    memcpy(base + header->fields_offset, spec->entries, header->num_fields * sizeof *spec->entries);
    memcpy(base + header->pool_offset, spec->pool, (size_t)header->pool_bytes);
    memcpy(base + header->agent_slot, &seq, sizeof seq);
    memcpy(base + header->env_slot[0], &seq, sizeof seq);
    memcpy(base + header->env_slot[1], &seq, sizeof seq);
}

int ferry__spec_take(const char *base, uint64_t region_bytes, ferry__spec *out, ferry_why *why) {
    ferry__header *header = &out->header;
    uint32_t i;
    memset(out, 0, sizeof *out);
    ferry__copy_in(header, base, sizeof *header);
    if (ferry__check_header(header, region_bytes, why) < 0) return why->code;
    ferry__copy_in(&out->group, base + header->groups_offset, sizeof out->group);
    out->entries = (ferry__entry *)calloc(header->num_fields + 1, sizeof *out->entries);
    out->pool = (char *)malloc((size_t)header->pool_bytes + 1);
    if (out->entries == NULL || out->pool == NULL) {
        ferry__fail(why, FERRY_ENOMEM, "out of memory");
        goto fail;
    }
    for (i = 0; i < header->num_fields; i++)
        ferry__copy_in(&out->entries[i], base + header->fields_offset + (uint64_t)header->field_bytes * i, sizeof *out->entries);
    ferry__copy_in(out->pool, base + header->pool_offset, (size_t)header->pool_bytes);
    if (ferry__check(out, why) == 0 && ferry__put_into_words(out, why) == 0) return 0;
fail:
    ferry__spec_clear(out);
    return why->code;
}

void ferry__spec_clear(ferry__spec *spec) {
    free(spec->entries);
    free(spec->pool);
    free(spec->fields);
    memset(spec, 0, sizeof *spec);
}

/* One row's. */
static int ferry__check_one_action(const ferry__spec *spec, const ferry__entry *entry, const char *elements, ferry_why *why) {
    const char *path = spec->pool + entry->path_offset;
    const char *low = spec->pool + entry->low_offset, *high = spec->pool + entry->high_offset;
    uint64_t size = ferry_dtype_bytes(entry->dtype), bytes = size, total, at;
    uint32_t i;
    for (i = 0; i < entry->ndim; i++) bytes *= entry->shape[i];
    total = bytes;
    if (entry->capacity != 0) {
        ferry_list list;
        memcpy(&list, elements, sizeof list);
        if (list.count == FERRY_IN_BLOB) return 0; /* whoever reads the blob checks it */
        if (list.count > entry->capacity)
            return ferry__fail(why, FERRY_EINVAL,
                               "action '%s' has %u elements; there is room for %u (more go into the blob, with FERRY_IN_BLOB as the count)",
                               path, list.count, entry->capacity);
        elements += sizeof list, total = bytes * list.count;
    }
    if (entry->kind < FERRY_DISCRETE || entry->kind > FERRY_MULTI_BINARY) return 0;
    for (at = 0; at < total; at += size) {
        uint64_t bound = entry->bounds == FERRY__BOUNDS_EACH ? at % bytes : 0;
        int64_t v = ferry__integer_at(entry->dtype, elements + at);
        int64_t least = ferry__integer_at(entry->dtype, low + bound), most = ferry__integer_at(entry->dtype, high + bound);
        int wrong = entry->dtype == FERRY_U64 ? (uint64_t)v < (uint64_t)least || (uint64_t)v > (uint64_t)most : v < least || v > most;
        if (wrong && total == size && entry->kind == FERRY_DISCRETE)
            return ferry__fail(why, FERRY_EINVAL, "action '%s' is %lld; it may be %lld to %lld", path, (long long)v, (long long)least,
                               (long long)most);
        if (wrong)
            return ferry__fail(why, FERRY_EINVAL, "element %llu of action '%s' is %lld; it may be %lld to %lld",
                               (unsigned long long)(at / size), path, (long long)v, (long long)least, (long long)most);
    }
    return 0;
}

/* The usual Discrete of many rows, quickly: are all inside? */
static int ferry__numbers_inside(const char *values, const uint32_t *rows, uint32_t count, int64_t least, int64_t most) {
    uint32_t i, wrong = 0;
    int64_t v;
    for (i = 0; i < count; i++) {
        memcpy(&v, values + (uint64_t)8 * rows[i], 8);
        wrong |= (uint32_t)(v < least) | (uint32_t)(v > most);
    }
    return !wrong;
}

int ferry__spec_check_action(const ferry__spec *spec, uint32_t field, const char *values, const uint32_t *rows, uint32_t count,
                             ferry_why *why) {
    const ferry__entry *entry = &spec->entries[field];
    uint32_t i;
    if (!ferry__is_checked(entry)) return 0;
    if (entry->kind == FERRY_DISCRETE && entry->dtype == FERRY_I64 && entry->capacity == 0 &&
        ferry__numbers_inside(values, rows, count, ferry__integer_at(FERRY_I64, spec->pool + entry->low_offset),
                              ferry__integer_at(FERRY_I64, spec->pool + entry->high_offset)))
        return 0;
    for (i = 0; i < count; i++)
        if (ferry__check_one_action(spec, entry, values + entry->stride * rows[i], why) < 0) {
            if (spec->group.num_rows > 1) ferry__also(why, " (row %u)", rows[i]);
            return why->code;
        }
    return 0;
}
