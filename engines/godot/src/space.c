#include "space.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of every dtype that the engine has packed arrays of. */
typedef struct dtype {
    const char *name;
    uint8_t code;
    uint8_t is_float;
    GDExtensionVariantType array;
    double low, high;
} dtype;

static const dtype dtypes[] = {
    {"float32", FERRY_F32, 1, TYPE(PACKED_FLOAT32_ARRAY), -INFINITY, INFINITY},
    {"float64", FERRY_F64, 1, TYPE(PACKED_FLOAT64_ARRAY), -INFINITY, INFINITY},
    {"uint8", FERRY_U8, 0, TYPE(PACKED_BYTE_ARRAY), 0, UINT8_MAX},
    {"int32", FERRY_I32, 0, TYPE(PACKED_INT32_ARRAY), INT32_MIN, INT32_MAX},
    {"int64", FERRY_I64, 0, TYPE(PACKED_INT64_ARRAY), -9223372036854775808.0, 9223372036854775807.0},
    {"int8", FERRY_I8, 0, TYPE(PACKED_BYTE_ARRAY), 0, 1}, /* of a MultiBinary, and nameless to scripts: the last */
};
enum { NUM_NAMED = 5 };

static const dtype *dtype_of(uint8_t code) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].code == code) return &dtypes[i];
    return NULL;
}

/* Returns 0, so that it can be returned. The first trouble stays. */
static int wrong(trouble *why, const char *path, const char *format, ...) {
    if (why->text[0] != '\0') return 0;
    int at = path != NULL && path[0] != '\0' ? snprintf(why->text, sizeof why->text, "\"%s\" ", path) : 0;
    if (at >= 0 && at < (int)sizeof why->text) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(why->text + at, sizeof why->text - (size_t)at, format, arguments);
        va_end(arguments);
    }
    utf8_trim(why->text);
    return 0;
}

/* ---- Descriptions --------------------------------------------------------------------------------------------------- */

static uint64_t num_elements(const ferry_field *f) {
    uint64_t count = 1;
    for (int i = 0; i < f->ndim; i++) count *= f->shape[i];
    return count;
}

/* Puts one element where it belongs. 0 if it does not fit the dtype. */
static int store(const dtype *d, void *array, uint64_t index, const variant *v) {
    double value;
    int64_t whole;
    if (d->is_float) {
        if (!variant_as_double(v, &value)) return 0;
        if (d->code == FERRY_F32) ((float *)array)[index] = (float)value;
        else ((double *)array)[index] = value;
        return 1;
    }
    if (!variant_as_int(v, &whole)) return 0;
    if (d->code != FERRY_I64 && ((double)whole < d->low || (double)whole > d->high)) return 0;
    if (d->code == FERRY_I64) ((int64_t *)array)[index] = whole;
    else if (d->code == FERRY_I32) ((int32_t *)array)[index] = (int32_t)whole;
    else ((uint8_t *)array)[index] = (uint8_t)whole;
    return 1;
}

/* Puts all elements there, from whatever has so many. */
static int store_all(const dtype *d, void *array, uint64_t count, const variant *v, const char *path, trouble *why) {
    char text[80];
    uint32_t element_bytes;
    int64_t given = variant_count(v);
    if (given < 0 || (uint64_t)given != count) {
        if (given < 0)
            return wrong(why, path, "is a %s, not %llu numbers", type_name(variant_type(v), text, sizeof text), (unsigned long long)count);
        return wrong(why, path, "has %lld numbers, not %llu", (long long)given, (unsigned long long)count);
    }
    if (variant_type(v) == d->array && d->code != FERRY_I8) {
        const void *elements = variant_elements(v, &element_bytes);
        if (elements != NULL) memcpy(array, elements, count * element_bytes);
        return 1;
    }
    for (uint64_t i = 0; i < count; i++) {
        variant element = variant_element(v, (int64_t)i);
        int fits = store(d, array, i, &element);
        if (!fits)
            wrong(why, path, "has %s at place %llu, which is no %s", variant_print(&element, text, sizeof text), (unsigned long long)i,
                  d->code == FERRY_I8 ? "0 or 1" : d->name);
        variant_drop(&element);
        if (!fits) return 0;
    }
    return 1;
}

static int take_shape(ferry_field *f, const variant *shape, trouble *why) {
    uint64_t bytes = 8;
    int64_t ndim = variant_count(shape);
    if (ndim < 0 || ndim > FERRY_MAX_NDIM) return wrong(why, f->path, "wants a shape of at most %d numbers", FERRY_MAX_NDIM);
    f->ndim = (uint8_t)ndim;
    for (int i = 0; i < ndim; i++) {
        variant element = variant_element(shape, i);
        int64_t length;
        int fits =
            variant_as_int(&element, &length) && length > 0 && length <= INT32_MAX && (bytes *= (uint64_t)length) <= (uint64_t)1 << 32;
        variant_drop(&element);
        if (!fits) return wrong(why, f->path, "has a shape that is none: its numbers are 1 or more, and not too large");
        f->shape[i] = (uint32_t)length;
    }
    return 1;
}

/* One bound: a number for all elements, or one for each. */
static int take_bounds(ferry_field *f, const dtype *d, const variant *low, const variant *high, trouble *why) {
    if (variant_as_double(low, &f->low) && variant_as_double(high, &f->high)) {
        if (f->low == 0 && f->high == 0) return wrong(why, f->path, "has the bounds 0 and 0");
        if (d->is_float || (f->low >= d->low && f->high <= d->high)) return 1;
        return wrong(why, f->path, "has bounds beyond those of %s", d->name);
    }
    uint64_t count = num_elements(f);
    void *each[2] = {calloc(count, 8), calloc(count, 8)};
    f->low_each = each[0], f->high_each = each[1];
    if (each[0] == NULL || each[1] == NULL) return wrong(why, f->path, "leaves no memory");
    for (int side = 0; side < 2; side++) {
        const variant *bound = side == 0 ? low : high;
        double value;
        if (!variant_as_double(bound, &value)) {
            if (!store_all(d, each[side], count, bound, f->path, why)) return 0;
        } else {
            for (uint64_t i = 0; i < count; i++)
                if (!store(d, each[side], i, bound)) return wrong(why, f->path, "has a bound that is no %s", d->name);
        }
    }
    return 1;
}

static int take_box(ferry_field *f, const variant *about, trouble *why) {
    char text[32] = "float32";
    variant name = variant_get(about, "dtype"), low = variant_get(about, "low"), high = variant_get(about, "high"),
            shape = variant_get(about, "shape");
    const dtype *d = NULL;
    if (variant_type(&name) != TYPE(NIL)) variant_print(&name, text, sizeof text);
    for (int i = 0; i < NUM_NAMED; i++)
        if (strcmp(dtypes[i].name, text) == 0) d = &dtypes[i];
    int right = 0;
    if (d == NULL) {
        wrong(why, f->path, "has the dtype %s; there are float32, float64, uint8, int32, int64", text);
    } else {
        f->kind = FERRY_BOX, f->dtype = d->code;
        right = take_shape(f, &shape, why) && take_bounds(f, d, &low, &high, why);
    }
    variant_drop(&name), variant_drop(&low), variant_drop(&high), variant_drop(&shape);
    return right;
}

/* Leaves *out alone if the number may be missing and is. */
static int take_int(const ferry_field *f, const variant *about, const char *key, int64_t least, int optional, int64_t *out, trouble *why) {
    variant value = variant_get(about, key);
    int fits = (optional && variant_type(&value) == TYPE(NIL)) || (variant_as_int(&value, out) && *out >= least);
    variant_drop(&value);
    return fits ? 1 : wrong(why, f->path, "wants a whole number \"%s\"%s", key, least == 1 ? ", 1 or more" : "");
}

static int take_multi_discrete(ferry_field *f, const variant *about, trouble *why) {
    variant nvec = variant_get(about, "nvec");
    int64_t count = variant_count(&nvec), *each[2] = {NULL, NULL};
    int right = 0;
    if (count < 1 || count > UINT16_MAX) {
        wrong(why, f->path, "wants an Array \"nvec\" of at least one number");
    } else {
        f->kind = FERRY_MULTI_DISCRETE, f->ndim = 1, f->shape[0] = (uint32_t)count;
        for (int i = 0; i < 2; i++) each[i] = calloc((size_t)count, sizeof *each[i]);
        f->low_each = each[0], f->high_each = each[1];
        if (each[0] == NULL || each[1] == NULL) wrong(why, f->path, "leaves no memory");
        else right = store_all(dtype_of(FERRY_I64), each[1], (uint64_t)count, &nvec, f->path, why);
        for (int64_t i = 0; right && i < count; i++)
            if (--each[1][i] < 0) right = wrong(why, f->path, "wants numbers of 1 or more in \"nvec\"");
    }
    variant_drop(&nvec);
    return right;
}

static int take_leaf(ferry_field *f, const char *kind, const variant *about, trouble *why) {
    if (strcmp(kind, "box") == 0) return take_box(f, about, why);
    if (strcmp(kind, "discrete") == 0) {
        f->kind = FERRY_DISCRETE;
        return take_int(f, about, "n", 1, 0, &f->n, why) && take_int(f, about, "start", INT64_MIN, 1, &f->start, why);
    }
    if (strcmp(kind, "multi_discrete") == 0) return take_multi_discrete(f, about, why);
    if (strcmp(kind, "multi_binary") == 0) {
        int64_t count;
        f->kind = FERRY_MULTI_BINARY, f->ndim = 1;
        if (!take_int(f, about, "n", 1, 0, &count, why)) return 0;
        if (count > UINT16_MAX) return wrong(why, f->path, "has more than %d flags", UINT16_MAX);
        f->shape[0] = (uint32_t)count;
        return 1;
    }
    return wrong(why, f->path, "is a space \"%s\"; there are box, discrete, multi_discrete, multi_binary", kind);
}

/* Spaces within spaces: more than anybody describes, and few enough for the stack. */
enum { MAX_DEPTH = 64 };

/* A path with one more key at its end, as libferry.h writes them; for the caller to free. */
static char *path_with(const char *path, const variant *key, uint32_t place) {
    char *name = NULL, *joined, *at;
    if (key != NULL && (name = variant_utf8(key, NULL)) == NULL) return NULL;
    joined = malloc(strlen(path) + (name != NULL ? 3 * strlen(name) : 0) + 16);
    if (joined != NULL && name == NULL) sprintf(joined, "%s#%u", path, (unsigned)place);
    if (joined != NULL && name != NULL) {
        at = joined + sprintf(joined, "%s%s%s", path, path[0] == '\0' ? "" : "/", name[0] == '\0' ? "%-" : "");
        for (const char *c = name; *c != '\0'; c++) {
            if (strchr("%/#", *c) != NULL) at += sprintf(at, "%%%02X", (unsigned)*c);
            else *at++ = *c;
        }
        *at = '\0';
    }
    free(name);
    return joined;
}

static int describe(space *out, field_table *table, const variant *about, ferry_role role, const char *path, int depth, trouble *why);

static int describe_leaf(space *out, field_table *table, const variant *about, const variant *kind, ferry_role role, const char *path,
                         trouble *why) {
    char text[64];
    if (table->num_fields == table->room) {
        uint32_t room = table->room * 2 + 8;
        ferry_field *more = realloc(table->fields, room * sizeof *more);
        if (more == NULL) return wrong(why, path, "leaves no memory");
        table->fields = more, table->room = room;
    }
    ferry_field *f = &table->fields[table->num_fields];
    *f = (ferry_field){.role = (uint8_t)role};
    char *copy = malloc(strlen(path) + 1);
    if (copy == NULL) return wrong(why, path, "leaves no memory");
    f->path = strcpy(copy, path);
    out->is_leaf = 1, out->field = table->num_fields++;
    return take_leaf(f, variant_print(kind, text, sizeof text), about, why);
}

static int describe_children(space *out, field_table *table, variant *about, ferry_role role, const char *path, int depth, trouble *why) {
    if (depth == MAX_DEPTH) return wrong(why, NULL, "nests too deep: does it hold itself?");
    variant keys = out->is_dict ? variant_do(about, NAME(keys), NULL, 0) : variant_nil();
    int64_t count = variant_count(out->is_dict ? &keys : about);
    out->children = calloc((size_t)count + 1, sizeof *out->children);
    int right = out->children != NULL ? 1 : wrong(why, path, "leaves no memory");
    if (count == 0) right = wrong(why, path, "is an empty %s", out->is_dict ? "Dictionary: describe a space in it" : "Array");
    for (int64_t i = 0; right && i < count; i++) {
        space *child = &out->children[out->num_children++];
        child->key = out->is_dict ? variant_element(&keys, i) : variant_nil();
        if (out->is_dict && variant_type(&child->key) != TYPE(STRING)) {
            right = wrong(why, path, "has a key that is no String");
            break;
        }
        variant element;
        if (out->is_dict) godot.variant_new_copy(&element, variant_at(about, &child->key));
        else element = variant_element(about, i);
        char *longer = path_with(path, out->is_dict ? &child->key : NULL, (uint32_t)i);
        right = longer != NULL ? describe(child, table, &element, role, longer, depth + 1, why) : wrong(why, path, "leaves no memory");
        free(longer);
        variant_drop(&element);
    }
    variant_drop(&keys);
    return right;
}

static int describe(space *out, field_table *table, const variant *about, ferry_role role, const char *path, int depth, trouble *why) {
    char text[64];
    GDExtensionVariantType type = variant_type(about);
    if (type != TYPE(DICTIONARY) && type != TYPE(ARRAY))
        return wrong(why, path, "is described by a %s, not by a Dictionary", type_name(type, text, sizeof text));
    variant kind = type == TYPE(DICTIONARY) ? variant_get(about, "space") : variant_nil(), copy;
    int right;
    if (variant_type(&kind) == TYPE(STRING)) {
        right = describe_leaf(out, table, about, &kind, role, path, why);
    } else {
        out->is_dict = type == TYPE(DICTIONARY);
        godot.variant_new_copy(&copy, about);
        right = describe_children(out, table, &copy, role, path, depth, why);
        variant_drop(&copy);
    }
    variant_drop(&kind);
    return right;
}

int space_describe(space *out, field_table *table, const variant *description, ferry_role role, trouble *why) {
    *out = (space){.key = variant_nil()};
    return describe(out, table, description, role, "", 0, why);
}

void space_free(space *s) {
    for (uint32_t i = 0; i < s->num_children; i++) {
        space_free(&s->children[i]);
        variant_drop(&s->children[i].key);
    }
    free(s->children);
    *s = (space){.key = variant_nil()};
}

void field_table_free(field_table *table) {
    for (uint32_t i = 0; i < table->num_fields; i++) {
        free((void *)(uintptr_t)table->fields[i].path);
        free((void *)(uintptr_t)table->fields[i].low_each);
        free((void *)(uintptr_t)table->fields[i].high_each);
    }
    free(table->fields);
    *table = (field_table){0};
}

/* ---- Values --------------------------------------------------------------------------------------------------------- */

static int write_leaf(const ferry_field *f, void *data, const variant *value, trouble *why) {
    char text[256];
    const dtype *d = dtype_of(f->dtype != FERRY_DEFAULT ? f->dtype : f->kind == FERRY_MULTI_BINARY ? FERRY_I8 : FERRY_I64);
    GDExtensionVariantType type = variant_type(value);
    if (f->kind == FERRY_DISCRETE) {
        int64_t number;
        if (!variant_as_int(value, &number)) return wrong(why, f->path, "is %s, no whole number", variant_print(value, text, sizeof text));
        if (number < f->start || number - f->start >= f->n)
            return wrong(why, f->path, "is %lld, not one of %lld to %lld", (long long)number, (long long)f->start,
                         (long long)(f->start + f->n - 1));
        *(int64_t *)data = number;
        return 1;
    }
    if (type == TYPE(OBJECT)) {
        if (f->dtype != FERRY_U8 || f->ndim != 3 || (f->shape[2] != 1 && f->shape[2] != 3 && f->shape[2] != 4))
            return wrong(why, f->path, "is an object; Images fit spaces made by FerrySpace.image() only");
        const void *bytes = image_bytes(value, f->shape[1], f->shape[0], f->shape[2], text, sizeof text);
        if (bytes == NULL) return wrong(why, f->path, "%s", text);
        memcpy(data, bytes, num_elements(f));
        return 1;
    }
    if (f->ndim == 0) {
        if (store(d, data, 0, value)) return 1;
        return wrong(why, f->path, "is %s, no %s", variant_print(value, text, sizeof text), d->name);
    }
    return store_all(d, data, num_elements(f), value, f->path, why);
}

int space_write(const space *s, const field_table *table, const ferry_turn *turn, const variant *value, trouble *why) {
    char text[80];
    if (s->is_leaf) {
        const ferry_field *f = &table->fields[s->field];
        if (f->role == FERRY_INFO) turn->present[s->field][0] = 1;
        return write_leaf(f, turn->data[s->field], value, why);
    }
    GDExtensionVariantType type = variant_type(value);
    int64_t count = variant_count(value);
    if (type != (s->is_dict ? TYPE(DICTIONARY) : TYPE(ARRAY)))
        return wrong(why, NULL, "it is a %s, not the %s that was described", type_name(type, text, sizeof text),
                     s->is_dict ? "Dictionary" : "Array");
    if (count != s->num_children) return wrong(why, NULL, "it has %lld entries, not the %u described", (long long)count, s->num_children);
    for (uint32_t i = 0; i < s->num_children; i++) {
        const space *child = &s->children[i];
        int right;
        if (s->is_dict) {
            const variant *element = variant_at(value, &child->key);
            if (element == NULL) return wrong(why, NULL, "there is no \"%s\" in it", variant_print(&child->key, text, sizeof text));
            right = space_write(child, table, turn, element, why);
        } else {
            variant element = variant_element(value, i);
            right = space_write(child, table, turn, &element, why);
            variant_drop(&element);
        }
        if (!right) return 0;
    }
    return 1;
}

static variant read_leaf(const ferry_field *f, const void *data) {
    if (f->kind == FERRY_DISCRETE) return variant_int(*(const int64_t *)data);
    if (f->kind == FERRY_MULTI_DISCRETE) return variant_packed(TYPE(PACKED_INT64_ARRAY), data, f->shape[0]);
    if (f->kind == FERRY_MULTI_BINARY) return variant_packed(TYPE(PACKED_BYTE_ARRAY), data, f->shape[0]);
    if (f->ndim > 0) return variant_packed(dtype_of(f->dtype)->array, data, num_elements(f));
    switch (f->dtype) {
    case FERRY_F32: return variant_float(*(const float *)data);
    case FERRY_F64: return variant_float(*(const double *)data);
    case FERRY_U8: return variant_int(*(const uint8_t *)data);
    case FERRY_I32: return variant_int(*(const int32_t *)data);
    default: return variant_int(*(const int64_t *)data);
    }
}

variant space_read(const space *s, const field_table *table, const ferry_turn *turn) {
    if (s->is_leaf) return read_leaf(&table->fields[s->field], turn->data[s->field]);
    variant all = variant_empty(s->is_dict ? TYPE(DICTIONARY) : TYPE(ARRAY));
    for (uint32_t i = 0; i < s->num_children; i++) {
        variant element = space_read(&s->children[i], table, turn);
        if (s->is_dict) {
            GDExtensionBool valid;
            godot.variant_set_keyed(&all, &s->children[i].key, &element, &valid);
        } else {
            const variant *arguments[] = {&element};
            variant nothing = variant_do(&all, NAME(append), arguments, 1);
            variant_drop(&nothing);
        }
        variant_drop(&element);
    }
    return all;
}

/* ---- FerrySpace ----------------------------------------------------------------------------------------------------- */

static variant copy_of(const variant *v) {
    variant copy;
    godot.variant_new_copy(&copy, v);
    return copy;
}

static void begin(variant *out, const char *kind) {
    variant_drop(out);
    *out = variant_empty(TYPE(DICTIONARY));
    variant_set(out, "space", variant_text(kind, strlen(kind)));
}

static int given(int count, const variant *const *arguments, int i) { return count > i && variant_type(arguments[i]) != TYPE(NIL); }

static void make_box(void *instance, const variant *const *arguments, int count, variant *out) {
    (void)instance;
    begin(out, "box");
    variant_set(out, "low", copy_of(arguments[0]));
    variant_set(out, "high", copy_of(arguments[1]));
    int64_t length = variant_count(arguments[0]) > 0 ? variant_count(arguments[0]) : variant_count(arguments[1]);
    if (given(count, arguments, 2)) variant_set(out, "shape", copy_of(arguments[2]));
    else variant_set(out, "shape", variant_packed(TYPE(PACKED_INT64_ARRAY), &length, length > 0));
    if (given(count, arguments, 3)) variant_set(out, "dtype", copy_of(arguments[3]));
}

static void make_discrete(void *instance, const variant *const *arguments, int count, variant *out) {
    (void)instance;
    begin(out, "discrete");
    variant_set(out, "n", copy_of(arguments[0]));
    variant_set(out, "start", given(count, arguments, 1) ? copy_of(arguments[1]) : variant_int(0));
}

static void make_multi_discrete(void *instance, const variant *const *arguments, int count, variant *out) {
    (void)instance, (void)count;
    begin(out, "multi_discrete");
    variant_set(out, "nvec", copy_of(arguments[0]));
}

static void make_multi_binary(void *instance, const variant *const *arguments, int count, variant *out) {
    (void)instance, (void)count;
    begin(out, "multi_binary");
    variant_set(out, "n", copy_of(arguments[0]));
}

static void make_image(void *instance, const variant *const *arguments, int count, variant *out) {
    (void)instance;
    int64_t shape[3] = {0, 0, 3};
    variant_as_int(arguments[0], &shape[1]);
    variant_as_int(arguments[1], &shape[0]);
    if (given(count, arguments, 2)) variant_as_int(arguments[2], &shape[2]);
    begin(out, "box");
    variant_set(out, "low", variant_int(0));
    variant_set(out, "high", variant_int(UINT8_MAX));
    variant_set(out, "shape", variant_packed(TYPE(PACKED_INT64_ARRAY), shape, 3));
    variant_set(out, "dtype", variant_text("uint8", 5));
}

#define DICTIONARY {"space", TYPE(DICTIONARY)}
static const method methods[] = {
    {"box", make_box, DICTIONARY, {{"low", TYPE(NIL)}, {"high", TYPE(NIL)}, {"shape", TYPE(NIL)}, {"dtype", TYPE(NIL)}}, 4, 2, 1},
    {"discrete", make_discrete, DICTIONARY, {{"n", TYPE(INT)}, {"start", TYPE(NIL)}}, 2, 1, 1},
    {"multi_discrete", make_multi_discrete, DICTIONARY, {{"nvec", TYPE(NIL)}}, 1, 1, 1},
    {"multi_binary", make_multi_binary, DICTIONARY, {{"n", TYPE(INT)}}, 1, 1, 1},
    {"image", make_image, DICTIONARY, {{"width", TYPE(INT)}, {"height", TYPE(INT)}, {"channels", TYPE(NIL)}}, 3, 2, 1},
};
#undef DICTIONARY

static void no_instance(void *class_data, GDExtensionClassInstancePtr instance) { (void)class_data, (void)instance; }

void space_register(GDExtensionClassLibraryPtr library) {
    string name = name_new("FerrySpace"), parent = name_new("Object");
    GDExtensionClassCreationInfo4 about = {.is_abstract = 1, .is_exposed = 1, .free_instance_func = no_instance};
    godot.classdb_register_extension_class4(library, &name, &parent, &about);
    name_drop(&name), name_drop(&parent);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) class_method(library, "FerrySpace", &methods[i]);
}

void space_unregister(GDExtensionClassLibraryPtr library) {
    string name = name_new("FerrySpace");
    godot.classdb_unregister_extension_class(library, &name);
    name_drop(&name);
}
