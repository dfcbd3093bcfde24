/* Spaces as scripts describe them, and values of them: between the engine's types and the bytes of Ferry's fields.
 *
 * A space is a Dictionary with "space" in it, as FerrySpace's functions make them; a Dictionary without stands for a Dict of spaces, an
 * Array for a Tuple. Values are what a script would expect: a number for what has no dimensions, else a Packed...Array of the elements;
 * a Dictionary, an Array. Observations may also be vectors, colours, Images, and Arrays of numbers. */
#ifndef FERRY_GODOT_SPACE_H
#define FERRY_GODOT_SPACE_H

#include "engine.h"

#include <libferry.h>

/* What went wrong, for people; empty while nothing has. */
typedef struct trouble {
    char text[1024];
} trouble;

/* A space, or one within another. */
typedef struct space {
    int is_leaf, is_dict;    /* neither: a tuple */
    uint32_t field;          /* of a leaf */
    struct space *children;  /* of a dict or a tuple */
    uint32_t num_children;
    variant key;             /* in the dict around it; else nil */
} space;

/* The fields of an environment, which ferry_env_open wants. Zero-initialised. */
typedef struct field_table {
    ferry_field *fields;
    uint32_t num_fields, room;
} field_table;

/* Fills *out from a script's description and adds its fields. 0 and the trouble if it is not one; space_free all the same. */
int space_describe(space *out, field_table *table, const variant *description, ferry_role role, trouble *why);
void space_free(space *s);
void field_table_free(field_table *table);

/* Writes a value where the turn wants it. 0 and the trouble if it does not fit the space. */
int space_write(const space *s, const field_table *table, const ferry_turn *turn, const variant *value, trouble *why);

/* The value that the turn brings. */
variant space_read(const space *s, const field_table *table, const ferry_turn *turn);

/* The class FerrySpace. */
void space_register(GDExtensionClassLibraryPtr library);
void space_unregister(GDExtensionClassLibraryPtr library);

#endif
