/* Rules: what a spec must fulfil before anybody relies on it, and an action before a program indexes with it. */
#ifndef FERRY__RULES_H
#define FERRY__RULES_H

#include "spec.h"

/* Keeps every product and sum of sizes far from the end of 64 bits. */
#define FERRY__MAX_FIELD_BYTES ((uint64_t)1 << 40)

static inline uint64_t ferry__round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }
/* Is [offset, offset + bytes) inside [from, end), and offset aligned? */
static inline int ferry__lies_in(uint64_t offset, uint64_t bytes, uint64_t from, uint64_t end, uint64_t align) {
    return offset % align == 0 && offset >= from && offset <= end && bytes <= end - offset;
}

/* The columns of a group, in the order in which they lie in a message. */
typedef struct ferry__column {
    size_t member; /* of ferry__group: the column's offset */
    uint32_t bytes; /* of a row; and its alignment */
    ferry__side writer;
} ferry__column;
#define FERRY__COLUMNS 8
static const ferry__column ferry__columns_of_group[FERRY__COLUMNS] = {
    {offsetof(ferry__group, seed_offset), 8, FERRY__AGENT},     {offsetof(ferry__group, rows_offset), 4, FERRY__AGENT},
    {offsetof(ferry__group, reward_offset), 8, FERRY__ENV},     {offsetof(ferry__group, episode_offset), 8, FERRY__ENV},
    {offsetof(ferry__group, terminated_offset), 1, FERRY__ENV}, {offsetof(ferry__group, truncated_offset), 1, FERRY__ENV},
    {offsetof(ferry__group, status_offset), 1, FERRY__ENV},     {offsetof(ferry__group, active_offset), 1, FERRY__ENV}};
static inline uint64_t *ferry__column_offset(ferry__group *group, const ferry__column *column) {
    return (uint64_t *)(void *)((char *)group + column->member);
}

/* Who writes a field, as a ferry__side counted from 0: actions are the agent's. */
static inline uint32_t ferry__writer(const ferry__entry *entry) { return (entry->role == FERRY_ACTION ? FERRY__AGENT : FERRY__ENV) - 1; }
/* Is the field kept as it is at the end of an episode, because an autoreset overwrites it? */
static inline int ferry__has_final(const ferry__group *group, const ferry__entry *entry) {
    return entry->role != FERRY_ACTION && (group->flags & FERRY__AUTORESET_MASK) == FERRY_AUTORESET_SAME_STEP;
}

FERRY__LOCAL const char *ferry__role_name(int role);
/* FERRY_ESPEC: the field's role and path, and what is wrong. */
FERRY__LOCAL int ferry__wrong_field(const ferry__entry *entry, const char *path, ferry_why *why, const char *format, ...)
    FERRY__PRINTF(4, 5);
/* Checks what a field is by itself, role, kind, dtype and size, and says how many bytes one element has. FERRY_ESPEC, ETOOBIG. */
FERRY__LOCAL int ferry__measure_field(const ferry__entry *entry, uint64_t rows, const char *path, uint64_t *bytes, ferry_why *why);
/* What a row of a field takes, if one element has so many bytes. */
FERRY__LOCAL uint64_t ferry__stride(const ferry__entry *entry, uint64_t element_bytes);

/* A header alone, so that the rest can be copied. FERRY_EPROTOCOL, EVERSION, ESPEC. */
FERRY__LOCAL int ferry__spec_check_header(const ferry__header *header, uint64_t region_bytes, ferry_why *why);
/* Everything that is used later, once header, group, entries and pool are private; fills in where columns and fields end, and how many
 * are checked. FERRY_ESPEC. */
FERRY__LOCAL int ferry__spec_check(ferry__spec *spec, ferry_why *why);
/* Are these rows' actions, as they lie in a message, inside the bounds of their fields? Only integers that engines index with are checked:
 * Discrete, MultiDiscrete, MultiBinary. FERRY_EINVAL with a text if not. */
FERRY__LOCAL int ferry__spec_check_actions(const ferry__spec *spec, const char *message, const uint32_t *rows, uint32_t count,
                                           ferry_why *why);

#endif
