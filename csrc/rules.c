/* Rules: see rules.h. Both sides run them: what the env builds is held to the same as what the agent receives. */
#include "rules.h"

#include "elements.h"
#include "errors.h"
#include "lane.h"

#include <string.h>

const char *ferry__role_name(int role) { return role == FERRY_OBSERVATION ? "observation" : role == FERRY_ACTION ? "action" : "info"; }

uint64_t ferry__stride(const ferry__entry *entry, uint64_t element_bytes) {
    if (entry->kind == FERRY_DICT || entry->kind == FERRY_TUPLE || entry->kind == FERRY_OTHER) return 0;
    return entry->capacity == 0 ? element_bytes : ferry__round_up(sizeof(ferry_list) + element_bytes * entry->capacity, 8);
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

/* Is [offset, offset + bytes) inside [0, end), and offset aligned? */
static int ferry__inside(uint64_t offset, uint64_t bytes, uint64_t end, uint64_t align) {
    return offset % align == 0 && offset <= end && bytes <= end - offset;
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
    if (entry->role != FERRY_INFO && !ferry__is_path(path))
        return ferry__fail(why, FERRY_ESPEC, "'%s' is no path: keys are joined by '/', places in a Tuple written '#0' ('pair#0', '#1/x')",
                           path);
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
    if (entry->role == FERRY_ACTION && entry->kind == FERRY_OTHER && spec->realtime)
        return ferry__fail(why, FERRY_ESPEC,
                           "action '%s' is of kind FERRY_OTHER, which travels in blobs, and in real time actions have none", path);
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

int ferry__spec_check_header(const ferry__header *header, uint64_t region_bytes, ferry_why *why) {
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
        header->env_bytes < FERRY__LANES_END || group->action_moment_offset < sizeof(ferry__slot) ||
        group->frame_moment_offset < sizeof(ferry__slot) ||
        !ferry__inside(group->action_moment_offset, sizeof(ferry__moment), agent_end, 8) ||
        !ferry__inside(group->frame_moment_offset, sizeof(ferry__moment), env_end, 8) || header->action_slots > header->region_bytes ||
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

int ferry__spec_check(ferry__spec *spec, ferry_why *why) {
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
    spec->realtime = (header->incompat & FERRY__FEATURE_REALTIME) != 0;
    if (!ferry__lanes_are_inside(spec, agent, least))
        return ferry__fail(why, FERRY_ESPEC, "the slots for frames and actions do not lie inside their parts of the region");
    if (spec->realtime) {
        ferry__extend(&spec->columns_end[FERRY__AGENT - 1], group->action_moment_offset + sizeof(ferry__moment));
        ferry__extend(&spec->columns_end[FERRY__ENV - 1], group->frame_moment_offset + sizeof(ferry__moment));
    }
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
