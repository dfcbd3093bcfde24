/* Rules: see rules.h. Both sides run them: what the env builds is held to the same as what the agent receives. */
#include "rules.h"

#include "elements.h"
#include "errors.h"
#include "lane.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *ferry__role_name(int role) { return role == FERRY_OBSERVATION ? "observation" : role == FERRY_ACTION ? "action" : "info"; }

uint64_t ferry__stride(const ferry__entry *entry, uint64_t element_bytes) {
    if (entry->kind == FERRY_DICT || entry->kind == FERRY_TUPLE || entry->kind == FERRY_OTHER) return 0;
    return entry->capacity == 0 ? element_bytes : ferry__round_up(sizeof(ferry_list) + element_bytes * entry->capacity, 8);
}

int ferry__wrong_field(const ferry__entry *entry, const char *path, ferry_why *why, const char *format, ...) {
    char wrong[sizeof why->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(wrong, sizeof wrong, format, arguments);
    va_end(arguments);
    return ferry__fail(why, FERRY_ESPEC, "%s '%s'%s", ferry__role_name(entry->role), path, wrong);
}

int ferry__measure_field(const ferry__entry *entry, uint64_t rows, const char *path, uint64_t *bytes, ferry_why *why) {
    const uint64_t most = FERRY__MAX_FIELD_BYTES / rows;
    uint32_t i;
    int fits = 1;
    *bytes = ferry_dtype_bytes(entry->dtype);
    if (entry->role > FERRY_INFO) return ferry__fail(why, FERRY_ESPEC, "field '%s' has the unknown role %d", path, entry->role);
    if (entry->kind > FERRY_OTHER) return ferry__wrong_field(entry, path, why, " has the unknown kind %d", entry->kind);
    if (*bytes == 0) return ferry__wrong_field(entry, path, why, " has the unknown dtype %d", entry->dtype);
    if (entry->ndim > FERRY_MAX_NDIM)
        return ferry__wrong_field(entry, path, why, " has %d dimensions; %d are possible", entry->ndim, FERRY_MAX_NDIM);
    for (i = 0; i < entry->ndim; i++) {
        fits &= *bytes == 0 || entry->shape[i] <= most / *bytes;
        *bytes *= entry->shape[i];
    }
    if (fits && (entry->capacity == 0 || *bytes <= most / entry->capacity)) return 0;
    return ferry__fail(why, FERRY_ETOOBIG, "%s '%s' of %u rows is larger than %llu bytes", ferry__role_name(entry->role), path,
                       (uint32_t)rows, (ferry__ull)FERRY__MAX_FIELD_BYTES);
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

/* Is every lower bound at most its upper one? */
static int ferry__bounds_in_order(const ferry__entry *entry, const char *low, const char *high, uint64_t bytes) {
    uint64_t size = ferry_dtype_bytes(entry->dtype), at;
    for (at = 0; at + size <= bytes; at += size)
        if (ferry__element_order(entry->dtype, low + at) > ferry__element_order(entry->dtype, high + at)) return 0;
    return 1;
}

/* Keys joined by '/', places in a Tuple written '#0', '#1', ...: the same rule as the agent's in Python, told to whoever can correct it. */
static int ferry__is_path(const char *path) {
    const char *at = path;
    while (*at != 0) {
        size_t length;
        if (*at == '#') {
            length = strspn(++at, "0123456789");
            if (length == 0 || length > 9 || (*at == '0' && length > 1)) return 0;
        } else {
            if (at > path && *at++ != '/') return 0;
            length = strcspn(at, "/#");
            if (length == 0) return 0;
        }
        at += length;
    }
    return 1;
}

/* Does one path name a place inside what the other says is a leaf? */
static int ferry__is_inside(const char *leaf, uint64_t leaf_bytes, const char *path, uint64_t path_bytes) {
    return path_bytes > leaf_bytes && memcmp(leaf, path, (size_t)leaf_bytes) == 0 &&
           (leaf_bytes == 0 || path[leaf_bytes] == '/' || path[leaf_bytes] == '#');
}

/* Is it UTF-8 inside the pool, followed by a zero? */
static int ferry__is_text(const ferry__spec *spec, uint64_t offset, uint64_t bytes) {
    return ferry__lies_in(offset, bytes + 1, 0, spec->header.pool_bytes, 1) && spec->pool[offset + bytes] == 0 &&
           ferry__is_utf8(spec->pool + offset, bytes);
}

/* A kind of integers that engines index with. */
static int ferry__is_integer(const ferry__entry *entry) { return entry->kind >= FERRY_DISCRETE && entry->kind <= FERRY_MULTI_BINARY; }

/* Does it lie in a message, behind the head? */
static int ferry__in_slot(uint64_t offset, uint64_t bytes, uint64_t end, uint64_t align) {
    return ferry__lies_in(offset, bytes, sizeof(ferry__slot), end, align);
}

/* Is there room for what a field holds at the end of an episode, where it is wanted, and only there? */
static int ferry__final_is_inside(const ferry__spec *spec, const ferry__entry *entry, uint64_t env_end) {
    uint64_t rows = spec->group.num_rows;
    int wanted = ferry__has_final(&spec->group, entry);
    if (wanted ? !ferry__in_slot(entry->final_offset, entry->stride * rows, env_end, 8) : entry->final_offset != 0) return 0;
    if (wanted && entry->role == FERRY_INFO) return ferry__in_slot(entry->final_present_offset, rows, env_end, 1);
    return entry->final_present_offset == 0;
}

static int ferry__check_entry(const ferry__spec *spec, const ferry__entry *entry, const uint64_t slot_ends[2], ferry_why *why) {
    const char *path;
    const int is_integer = ferry__is_integer(entry);
    uint64_t rows = spec->group.num_rows, pool = spec->header.pool_bytes, env_end = slot_ends[FERRY__ENV - 1], bytes, bound;
    if (entry->path_bytes > FERRY__MAX_PATH || !ferry__is_text(spec, entry->path_offset, entry->path_bytes))
        return ferry__fail(why, FERRY_ESPEC, "a field's path is not valid UTF-8 text of at most %d bytes", FERRY__MAX_PATH);
    path = spec->pool + entry->path_offset;
    if (entry->role != FERRY_INFO && !ferry__is_path(path))
        return ferry__fail(why, FERRY_ESPEC, "'%s' is no path: keys are joined by '/', places in a Tuple written '#0' ('pair#0', '#1/x')",
                           path);
    if (entry->role == FERRY_INFO && entry->path_bytes == 0)
        return ferry__fail(why, FERRY_ESPEC, "an info needs a path: its key in the info dict");
    if (ferry__measure_field(entry, rows, path, &bytes, why) < 0) return why->code;
    if ((entry->kind == FERRY_DISCRETE && entry->ndim != 0) || (is_integer && (entry->dtype < FERRY_I8 || entry->dtype > FERRY_U64)) ||
        (is_integer && entry->kind != FERRY_MULTI_BINARY && entry->bounds == FERRY__BOUNDS_NONE) || entry->bounds > FERRY__BOUNDS_EACH)
        return ferry__wrong_field(entry, path, why, ": shape, dtype or bounds do not fit its kind");
    if (entry->kind >= FERRY_DICT && (entry->ndim != 0 || entry->bounds != FERRY__BOUNDS_NONE ||
                                      (entry->capacity != 0) != (entry->kind == FERRY_STRING) || ferry_dtype_bytes(entry->dtype) != 1))
        return ferry__wrong_field(entry, path, why,
                                  ": a string has a capacity, an empty Dict or Tuple has none, and all of them neither shape nor bounds");
    if (entry->role == FERRY_INFO && entry->kind == FERRY_OTHER)
        return ferry__wrong_field(entry, path, why, ": an info of kind FERRY_OTHER needs no field; put it into the blob");
    if (entry->role == FERRY_ACTION && entry->kind == FERRY_OTHER && spec->realtime)
        return ferry__wrong_field(entry, path, why, " is of kind FERRY_OTHER, which travels in blobs, and in real time actions have none");
    if (entry->stride != ferry__stride(entry, bytes) ||
        !ferry__in_slot(entry->offset, entry->stride * rows, slot_ends[ferry__writer(entry)], 8))
        return ferry__wrong_field(entry, path, why, " does not lie inside its slot");
    if (entry->role == FERRY_INFO && !ferry__in_slot(entry->present_offset, rows, env_end, 1))
        return ferry__wrong_field(entry, path, why, " has no presence inside its slot");
    if (!ferry__final_is_inside(spec, entry, env_end))
        return ferry__wrong_field(entry, path, why, " has no room for the end of an episode inside its slot, or has it without need");
    bound = entry->bounds == FERRY__BOUNDS_EACH ? bytes : entry->bounds == FERRY__BOUNDS_SCALAR ? ferry_dtype_bytes(entry->dtype) : 0;
    if (!ferry__lies_in(entry->low_offset, bound, 0, pool, 8) || !ferry__lies_in(entry->high_offset, bound, 0, pool, 8))
        return ferry__wrong_field(entry, path, why, ": its bounds do not lie inside the pool");
    if (!ferry__bounds_in_order(entry, spec->pool + entry->low_offset, spec->pool + entry->high_offset, bound))
        return ferry__wrong_field(entry, path, why, ": a lower bound is above its upper bound");
    return 0;
}

int ferry__spec_check_header(const ferry__header *header, uint64_t region_bytes, ferry_why *why) {
    if (memcmp(header->magic, FERRY__REGION_MAGIC, 8) != 0)
        return ferry__fail(why, FERRY_EPROTOCOL, "the peer's region does not begin with Ferry's mark");
    if (header->endian != FERRY__ENDIAN) return ferry__fail(why, FERRY_EVERSION, "the peer's region has another byte order");
    if (header->abi_major != FERRY__ABI_MAJOR || (header->incompat & ~FERRY__FEATURES_KNOWN) != 0)
        return ferry__fail(why, FERRY_EVERSION,
                           "the peer's region has protocol %d.%d with features 0x%llx; this side knows %d.x and 0x%llx", header->abi_major,
                           header->abi_minor, (ferry__ull)header->incompat, FERRY__ABI_MAJOR, (ferry__ull)FERRY__FEATURES_KNOWN);
    if (header->region_bytes != region_bytes || header->header_bytes < sizeof(ferry__header) ||
        header->group_bytes < sizeof(ferry__group) || header->field_bytes < sizeof(ferry__entry) || header->header_bytes > FERRY__PAGE ||
        header->group_bytes > FERRY__PAGE || header->field_bytes > FERRY__PAGE || header->num_groups != 1 ||
        header->num_fields > FERRY__MAX_FIELDS)
        return ferry__fail(why, FERRY_ESPEC, "the sizes in the peer's region do not fit together");
    if (!ferry__lies_in(header->groups_offset, header->group_bytes, 0, region_bytes, 8) ||
        !ferry__lies_in(header->fields_offset, (uint64_t)header->field_bytes * header->num_fields, 0, region_bytes, 8) ||
        !ferry__lies_in(header->pool_offset, header->pool_bytes, 0, region_bytes, 8) ||
        !ferry__lies_in(header->agent_offset, header->agent_bytes, header->header_bytes, region_bytes, FERRY__PAGE) ||
        !ferry__lies_in(header->env_offset, header->env_bytes, header->header_bytes, region_bytes, FERRY__PAGE) ||
        header->agent_bytes % FERRY__PAGE != 0 || header->agent_bytes == 0 || header->env_bytes == 0 ||
        (header->agent_offset < header->env_offset + header->env_bytes && header->env_offset < header->agent_offset + header->agent_bytes))
        return ferry__fail(why, FERRY_ESPEC, "the parts of the peer's region do not lie inside it");
    return 0;
}

/* The bytes from the slot to the end of its part, or 0 if the slot is not in there. */
static uint64_t ferry__slot_room(uint64_t slot, uint64_t part, uint64_t part_bytes) {
    uint64_t end = part + part_bytes;
    return ferry__lies_in(slot, sizeof(ferry__slot), part + sizeof(ferry__line), end, 64) ? end - slot : 0;
}

/* Integers that engines index with, counts among them. */
static int ferry__is_checked(const ferry__entry *entry) {
    return entry->capacity != 0 || (ferry__is_integer(entry) && entry->bounds != FERRY__BOUNDS_NONE);
}

static void ferry__extend(uint64_t *end, uint64_t to) {
    if (to > *end) *end = to;
}

/* Have two slots no byte in common? */
static int ferry__are_apart(uint64_t one, uint64_t other, uint64_t bytes) { return one + bytes <= other || other + bytes <= one; }

/* Are the lanes where they must be: words, moments and slots, of which each is its own place? Without them there must be nothing of the kind. */
static int ferry__lanes_are_inside(const ferry__spec *spec, uint64_t agent_end, uint64_t env_end) {
    const ferry__header *header = &spec->header;
    const ferry__group *group = &spec->group;
    uint64_t agent_pitch = ferry__lane_pitch(header->agent_blob, header->blob_bytes);
    uint64_t env_pitch = ferry__lane_pitch(header->env_blob, header->blob_bytes), i;
    if (!spec->realtime)
        return (header->frame_slots | header->action_slots | group->action_moment_offset | group->frame_moment_offset) == 0;
    if (group->num_rows != 1 || (group->flags & FERRY__AUTORESET_MASK) != FERRY_AUTORESET_DISABLED ||
        header->env_bytes < FERRY__LANES_END || !ferry__in_slot(group->action_moment_offset, sizeof(ferry__moment), agent_end, 8) ||
        !ferry__in_slot(group->frame_moment_offset, sizeof(ferry__moment), env_end, 8) || header->action_slots > header->region_bytes ||
        header->frame_slots > header->region_bytes)
        return 0;
    for (i = 0; i < FERRY__LANE_SLOTS; i++) {
        uint64_t action = header->action_slots + agent_pitch * i, agent_room = header->agent_blob + header->blob_bytes;
        uint64_t frame = header->frame_slots + env_pitch * i, env_room = header->env_blob + header->blob_bytes;
        if (ferry__slot_room(action, header->agent_offset, header->agent_bytes) < agent_room ||
            ferry__slot_room(frame, header->env_offset, header->env_bytes) < env_room ||
            !ferry__are_apart(action, header->agent_slot, agent_room) || !ferry__are_apart(frame, header->env_slot[0], env_room) ||
            !ferry__are_apart(frame, header->env_slot[1], env_room) || frame < header->env_offset + FERRY__LANES_END)
            return 0;
    }
    return header->env_slot[0] >= header->env_offset + FERRY__LANES_END && header->env_slot[1] >= header->env_offset + FERRY__LANES_END;
}

/* Do two fields' paths go together? */
static int ferry__check_paths(const ferry__spec *spec, const ferry__entry *entry, const ferry__entry *other, ferry_why *why) {
    const char *one = spec->pool + other->path_offset, *two = spec->pool + entry->path_offset;
    if (other->role != entry->role) return 0;
    if (strcmp(one, two) == 0) return ferry__fail(why, FERRY_ESPEC, "two %ss have the path '%s'", ferry__role_name(entry->role), two);
    if (entry->role != FERRY_INFO && (ferry__is_inside(one, other->path_bytes, two, entry->path_bytes) ||
                                      ferry__is_inside(two, entry->path_bytes, one, other->path_bytes)))
        return ferry__fail(why, FERRY_ESPEC, "the %ss '%s' and '%s' contradict each other: one place cannot be a leaf and hold others",
                           ferry__role_name(entry->role), one, two);
    return 0;
}

int ferry__spec_check(ferry__spec *spec, ferry_why *why) {
    const ferry__header *header = &spec->header;
    const ferry__group *group = &spec->group;
    uint64_t rows = group->num_rows, slot_ends[2], other_slot, *ends = spec->fields_end;
    uint32_t i, j;
    slot_ends[FERRY__AGENT - 1] = ferry__slot_room(header->agent_slot, header->agent_offset, header->agent_bytes);
    slot_ends[FERRY__ENV - 1] = ferry__slot_room(header->env_slot[0], header->env_offset, header->env_bytes);
    other_slot = ferry__slot_room(header->env_slot[1], header->env_offset, header->env_bytes);
    if (other_slot < slot_ends[FERRY__ENV - 1]) slot_ends[FERRY__ENV - 1] = other_slot;
    if (slot_ends[0] == 0 || slot_ends[1] == 0) return ferry__fail(why, FERRY_ESPEC, "a slot does not lie inside its part of the region");
    if (rows == 0 || rows > FERRY_MAX_ROWS)
        return ferry__fail(why, FERRY_ESPEC, "an environment of %llu rows; 1 to %d are possible", (ferry__ull)rows, FERRY_MAX_ROWS);
    if (group->num_fields != header->num_fields || group->first_field != 0 || (group->flags & ~FERRY__FLAGS_KNOWN) != 0 ||
        (group->flags & FERRY__AUTORESET_MASK) > FERRY_AUTORESET_SAME_STEP)
        return ferry__fail(why, FERRY_ESPEC, "the fields or flags of the group do not fit together");
    spec->num_checked = spec->num_infos = 0;
    spec->parts_begin = header->agent_offset < header->env_offset ? header->agent_offset : header->env_offset;
    ends[0] = ends[1] = sizeof(ferry__slot);
    for (i = 0; i < FERRY__COLUMNS; i++) {
        const ferry__column *column = &ferry__columns_of_group[i];
        uint64_t offset = *ferry__column_offset((ferry__group *)group, column);
        if (!ferry__in_slot(offset, column->bytes * rows, slot_ends[column->writer - 1], column->bytes))
            return ferry__fail(why, FERRY_ESPEC, "a column of the group does not lie inside its slot");
        ferry__extend(&ends[column->writer - 1], offset + column->bytes * rows);
    }
    if (!ferry__in_slot(header->agent_blob, header->blob_bytes, slot_ends[FERRY__AGENT - 1], 8) ||
        !ferry__in_slot(header->env_blob, header->blob_bytes, slot_ends[FERRY__ENV - 1], 8))
        return ferry__fail(why, FERRY_ESPEC, "the room for blobs does not lie inside its slot");
    spec->realtime = (header->incompat & FERRY__FEATURE_REALTIME) != 0;
    if (!ferry__lanes_are_inside(spec, slot_ends[FERRY__AGENT - 1], slot_ends[FERRY__ENV - 1]))
        return ferry__fail(why, FERRY_ESPEC, "the slots for frames and actions do not lie inside their parts of the region");
    if (spec->realtime) {
        ferry__extend(&ends[FERRY__AGENT - 1], group->action_moment_offset + sizeof(ferry__moment));
        ferry__extend(&ends[FERRY__ENV - 1], group->frame_moment_offset + sizeof(ferry__moment));
    }
    if (!ferry__is_text(spec, header->name_offset, header->name_bytes) ||
        !ferry__lies_in(header->about_offset, header->about_bytes, 0, header->pool_bytes, 1) || header->about_bytes > FERRY__MAX_ABOUT ||
        header->about_format > FERRY_TEXT || (header->blob_format != FERRY_JSON && header->blob_format != FERRY_MSGPACK))
        return ferry__fail(why, FERRY_ESPEC, "the name or the description of the environment is not valid");
    for (i = 0; i < header->num_fields; i++) {
        const ferry__entry *entry = &spec->entries[i];
        if (ferry__check_entry(spec, entry, slot_ends, why) < 0) return why->code;
        spec->num_infos += entry->role == FERRY_INFO;
        spec->num_checked += entry->role == FERRY_ACTION && ferry__is_checked(entry);
        if (entry->role == FERRY_INFO) ferry__extend(&ends[FERRY__ENV - 1], entry->present_offset + rows);
        for (j = 0; j < i; j++)
            if (ferry__check_paths(spec, entry, &spec->entries[j], why) < 0) return why->code;
    }
    memcpy(spec->columns_end, ends, sizeof spec->columns_end);
    for (i = 0; i < header->num_fields; i++) {
        const ferry__entry *entry = &spec->entries[i];
        uint32_t writer = ferry__writer(entry);
        if (entry->offset < spec->columns_end[writer])
            return ferry__wrong_field(entry, spec->pool + entry->path_offset, why, " lies before the end of the columns");
        ferry__extend(&ends[writer], entry->offset + entry->stride * rows);
        if (entry->final_offset != 0) ferry__extend(&ends[writer], entry->final_offset + entry->stride * rows);
        if (entry->final_present_offset != 0) ferry__extend(&ends[writer], entry->final_present_offset + rows);
    }
    if (header->agent_blob < ends[FERRY__AGENT - 1] || header->env_blob < ends[FERRY__ENV - 1])
        return ferry__fail(why, FERRY_ESPEC, "the room for blobs begins before the end of the fields");
    return 0;
}

/* ---- Actions ---- */

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
        if (list.count == FERRY_IN_BLOB && spec->realtime)
            return ferry__fail(why, FERRY_EINVAL, "action '%s' lies in a blob, and in real time an action has none", path);
        if (list.count == FERRY_IN_BLOB) return 0; /* whoever reads the blob checks it */
        if (list.count > entry->capacity)
            return ferry__fail(why, FERRY_EINVAL,
                               "action '%s' has %u elements; there is room for %u (more go into the blob, with FERRY_IN_BLOB as the count)",
                               path, list.count, entry->capacity);
        elements += sizeof list, total = bytes * list.count;
    }
    if (!ferry__is_integer(entry)) return 0;
    for (at = 0; at < total; at += size) {
        uint64_t bound = entry->bounds == FERRY__BOUNDS_EACH ? at % bytes : 0;
        int64_t v = ferry__integer_at(entry->dtype, elements + at);
        int64_t least = ferry__integer_at(entry->dtype, low + bound), most = ferry__integer_at(entry->dtype, high + bound);
        int wrong = entry->dtype == FERRY_U64 ? (uint64_t)v < (uint64_t)least || (uint64_t)v > (uint64_t)most : v < least || v > most;
        if (wrong && total == size && entry->kind == FERRY_DISCRETE)
            return ferry__fail(why, FERRY_EINVAL, "action '%s' is %lld; it may be %lld to %lld", path, (long long)v, (long long)least,
                               (long long)most);
        if (wrong)
            return ferry__fail(why, FERRY_EINVAL, "element %llu of action '%s' is %lld; it may be %lld to %lld", (ferry__ull)(at / size),
                               path, (long long)v, (long long)least, (long long)most);
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

int ferry__spec_check_actions(const ferry__spec *spec, const char *message, const uint32_t *rows, uint32_t count, ferry_why *why) {
    uint32_t i, k;
    for (i = 0; i < spec->header.num_fields; i++) {
        const ferry__entry *entry = &spec->entries[i];
        const char *values = message + entry->offset;
        if (entry->role != FERRY_ACTION || !ferry__is_checked(entry)) continue;
        if (entry->kind == FERRY_DISCRETE && entry->dtype == FERRY_I64 && entry->capacity == 0 &&
            ferry__numbers_inside(values, rows, count, ferry__integer_at(FERRY_I64, spec->pool + entry->low_offset),
                                  ferry__integer_at(FERRY_I64, spec->pool + entry->high_offset)))
            continue;
        for (k = 0; k < count; k++)
            if (ferry__check_one_action(spec, entry, values + entry->stride * rows[k], why) < 0) {
                if (spec->group.num_rows > 1) ferry__also(why, " (row %u)", rows[k]);
                return why->code;
            }
    }
    return 0;
}
