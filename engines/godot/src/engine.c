#include "engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

engine_functions godot;
string engine_names[NUM_NAMES];

/* Conversions by type, looked up once. */
static struct {
    GDExtensionVariantFromTypeConstructorFunc wrap;
    GDExtensionTypeFromVariantConstructorFunc unwrap;
    GDExtensionVariantGetInternalPtrFunc inside;
    GDExtensionPtrConstructor construct;
    GDExtensionPtrDestructor destroy; /* NULL: nothing to destroy */
    GDExtensionPtrBuiltInMethod size, resize;
} types[TYPE(VARIANT_MAX)];

static GDExtensionMethodBindPtr node_tree, tree_paused, json_parse_string, json_stringify, image_width, image_height, image_format,
    image_has_mipmaps;
static void *image_tag;

/* The engine finds a method by its name and by this number, which stands for its arguments and stays when they do. */
static const GDExtensionInt HASH_GET_TREE = 2958820483, HASH_SIZE = 3173160232, HASH_RESIZE = 848867239, HASH_PARSE_STRING = 309047738,
                            HASH_STRINGIFY = 462733549, HASH_GET_INT = 3905245786, HASH_GET_FORMAT = 3847873762, HASH_GET_FLAG = 36873697;

/* ---- Life ----------------------------------------------------------------------------------------------------------- */

int engine_open(GDExtensionInterfaceGetProcAddress get_proc_address) {
#define LOOK_UP(type, name)                                                                                                                \
    godot.name = (GDExtensionInterface##type)(void (*)(void))get_proc_address(#name);                                                      \
    if (godot.name == NULL) return fprintf(stderr, "Ferry: this engine has no " #name "; Ferry needs Godot 4.4 or newer\n"), 0;
    ENGINE_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    return 1;
}

static GDExtensionMethodBindPtr bind_of(const char *class_name, const char *method_name, int64_t hash) {
    string class = name_new(class_name), name = name_new(method_name);
    GDExtensionMethodBindPtr bind = godot.classdb_get_method_bind(&class, &name, hash);
    name_drop(&class), name_drop(&name);
    return bind;
}

void engine_begin(void) {
    static const char *const texts[NUM_NAMES] = {
#define TEXT(name) #name,
        ENGINE_NAMES(TEXT)
#undef TEXT
    };
    types[TYPE(STRING_NAME)].destroy = godot.variant_get_ptr_destructor(TYPE(STRING_NAME)); /* name_drop needs it */
    for (int i = 0; i < NUM_NAMES; i++) engine_names[i] = name_new(texts[i]);
    string size = name_new("size"), resize = name_new("resize");
    for (int i = TYPE(BOOL); i < TYPE(VARIANT_MAX); i++) {
        GDExtensionVariantType type = (GDExtensionVariantType)i;
        types[i].wrap = godot.get_variant_from_type_constructor(type);
        types[i].unwrap = godot.get_variant_to_type_constructor(type);
        types[i].inside = godot.variant_get_ptr_internal_getter(type);
        types[i].construct = godot.variant_get_ptr_constructor(type, 0);
        types[i].destroy = godot.variant_get_ptr_destructor(type);
        if (type >= TYPE(DICTIONARY)) types[i].size = godot.variant_get_ptr_builtin_method(type, &size, HASH_SIZE);
        if (type > TYPE(ARRAY)) types[i].resize = godot.variant_get_ptr_builtin_method(type, &resize, HASH_RESIZE);
    }
    name_drop(&size), name_drop(&resize);
    node_tree = bind_of("Node", "get_tree", HASH_GET_TREE);
    tree_paused = bind_of("SceneTree", "is_paused", HASH_GET_FLAG);
    json_parse_string = bind_of("JSON", "parse_string", HASH_PARSE_STRING);
    json_stringify = bind_of("JSON", "stringify", HASH_STRINGIFY);
    image_width = bind_of("Image", "get_width", HASH_GET_INT);
    image_height = bind_of("Image", "get_height", HASH_GET_INT);
    image_format = bind_of("Image", "get_format", HASH_GET_FORMAT);
    image_has_mipmaps = bind_of("Image", "has_mipmaps", HASH_GET_FLAG);
    string image = name_new("Image");
    image_tag = godot.classdb_get_class_tag(&image);
    name_drop(&image);
}

void engine_end(void) {
    for (int i = 0; i < NUM_NAMES; i++) name_drop(&engine_names[i]);
}

string name_new(const char *text) {
    string name;
    godot.string_name_new_with_utf8_chars(&name, text);
    return name;
}

void name_drop(string *name) { types[TYPE(STRING_NAME)].destroy(name); }

static string string_new(const char *text, size_t length) {
    string s;
    godot.string_new_with_utf8_chars_and_len(&s, text, (GDExtensionInt)length);
    return s;
}

static void string_drop(string *s) { types[TYPE(STRING)].destroy(s); }

/* ---- Values --------------------------------------------------------------------------------------------------------- */

/* Of a value that is destroyed, if it has to be: what wraps it has a share of its own. */
static variant wrap(GDExtensionVariantType type, void *value) {
    variant v;
    types[type].wrap(&v, value);
    if (types[type].destroy != NULL) types[type].destroy(value);
    return v;
}

variant variant_nil(void) {
    variant v;
    godot.variant_new_nil(&v);
    return v;
}

variant variant_bool(int value) {
    GDExtensionBool flag = value != 0;
    return wrap(TYPE(BOOL), &flag);
}

variant variant_int(int64_t value) { return wrap(TYPE(INT), &value); }

variant variant_float(double value) { return wrap(TYPE(FLOAT), &value); }

variant variant_text(const char *text, size_t length) {
    string s = string_new(text, length);
    return wrap(TYPE(STRING), &s);
}

variant variant_object(GDExtensionObjectPtr object) { return wrap(TYPE(OBJECT), &object); }

variant variant_empty(GDExtensionVariantType type) {
    packed value;
    types[type].construct(&value, NULL);
    return wrap(type, &value);
}

variant variant_packed(GDExtensionVariantType type, const void *elements, uint64_t count) {
    packed value;
    types[type].construct(&value, NULL);
    int64_t length = (int64_t)count, code;
    const GDExtensionConstTypePtr arguments[] = {&length};
    types[type].resize(&value, arguments, &code, 1);
    if (count == 0) return wrap(type, &value);
    if (type == TYPE(PACKED_BYTE_ARRAY)) memcpy(godot.packed_byte_array_operator_index(&value, 0), elements, count);
    if (type == TYPE(PACKED_INT32_ARRAY)) memcpy(godot.packed_int32_array_operator_index(&value, 0), elements, 4 * count);
    if (type == TYPE(PACKED_INT64_ARRAY)) memcpy(godot.packed_int64_array_operator_index(&value, 0), elements, 8 * count);
    if (type == TYPE(PACKED_FLOAT32_ARRAY)) memcpy(godot.packed_float32_array_operator_index(&value, 0), elements, 4 * count);
    if (type == TYPE(PACKED_FLOAT64_ARRAY)) memcpy(godot.packed_float64_array_operator_index(&value, 0), elements, 8 * count);
    return wrap(type, &value);
}

variant variant_method(GDExtensionObjectPtr object, const string *method) {
    packed callable;
    const GDExtensionConstTypePtr arguments[] = {&object, method};
    godot.variant_get_ptr_constructor(TYPE(CALLABLE), 2)(&callable, arguments);
    return wrap(TYPE(CALLABLE), &callable);
}

void variant_drop(variant *v) { godot.variant_destroy(v); }

GDExtensionVariantType variant_type(const variant *v) { return godot.variant_get_type(v); }

void *variant_inside(const variant *v) { return types[variant_type(v)].inside((GDExtensionVariantPtr)(uintptr_t)v); }

int variant_as_double(const variant *v, double *out) {
    switch (variant_type(v)) {
    case TYPE(BOOL): *out = *(const GDExtensionBool *)variant_inside(v); return 1;
    case TYPE(INT): *out = (double)*(const int64_t *)variant_inside(v); return 1;
    case TYPE(FLOAT): *out = *(const double *)variant_inside(v); return 1;
    default: return 0;
    }
}

int variant_as_int(const variant *v, int64_t *out) {
    double value;
    if (variant_type(v) == TYPE(INT)) return *out = *(const int64_t *)variant_inside(v), 1;
    if (!variant_as_double(v, &value) || !(fabs(value) <= 9007199254740992.0) || value != floor(value)) return 0;
    return *out = (int64_t)value, 1;
}

int64_t variant_count(const variant *v) {
    GDExtensionVariantType type = variant_type(v);
    int64_t count = -1;
    switch (type) {
    case TYPE(VECTOR2):
    case TYPE(VECTOR2I): return 2;
    case TYPE(VECTOR3):
    case TYPE(VECTOR3I): return 3;
    case TYPE(VECTOR4):
    case TYPE(VECTOR4I):
    case TYPE(QUATERNION):
    case TYPE(COLOR): return 4;
    default:
        if (types[type].size != NULL) types[type].size(variant_inside(v), NULL, &count, 0);
        return count;
    }
}

variant variant_element(const variant *v, int64_t index) {
    variant element;
    GDExtensionBool valid, out_of_bounds;
    godot.variant_get_indexed(v, index, &element, &valid, &out_of_bounds);
    return element;
}

const void *variant_elements(const variant *v, uint32_t *element_bytes) {
    GDExtensionVariantType type = variant_type(v);
    if (type < TYPE(PACKED_BYTE_ARRAY) || type > TYPE(PACKED_FLOAT64_ARRAY) || variant_count(v) == 0) return NULL;
    const void *inside = variant_inside(v);
    switch (type) {
    case TYPE(PACKED_BYTE_ARRAY): *element_bytes = 1; return godot.packed_byte_array_operator_index_const(inside, 0);
    case TYPE(PACKED_INT32_ARRAY): *element_bytes = 4; return godot.packed_int32_array_operator_index_const(inside, 0);
    case TYPE(PACKED_INT64_ARRAY): *element_bytes = 8; return godot.packed_int64_array_operator_index_const(inside, 0);
    case TYPE(PACKED_FLOAT32_ARRAY): *element_bytes = 4; return godot.packed_float32_array_operator_index_const(inside, 0);
    default: *element_bytes = 8; return godot.packed_float64_array_operator_index_const(inside, 0);
    }
}

const variant *variant_at(const variant *dictionary, const variant *key) {
    GDExtensionBool valid;
    if (!godot.variant_has_key(dictionary, key, &valid)) return NULL; /* the engine's operator complains aloud */
    return godot.dictionary_operator_index_const(variant_inside(dictionary), key);
}

variant variant_get(const variant *dictionary, const char *key) {
    variant name = variant_text(key, strlen(key)), found;
    const variant *value = variant_at(dictionary, &name);
    if (value != NULL) godot.variant_new_copy(&found, value);
    else found = variant_nil();
    variant_drop(&name);
    return found;
}

void variant_set(variant *dictionary, const char *key, variant value) {
    variant name = variant_text(key, strlen(key));
    GDExtensionBool valid;
    godot.variant_set_keyed(dictionary, &name, &value, &valid);
    variant_drop(&name), variant_drop(&value);
}

void utf8_trim(char *text) {
    size_t length = strlen(text), start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0) return;
    unsigned char first = (unsigned char)text[--start];
    size_t whole = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    if (length - start < whole) text[start] = '\0';
}

static char *print_string(const string *s, char *text, size_t size) {
    GDExtensionInt length = godot.string_to_utf8_chars(s, text, (GDExtensionInt)size - 1);
    text[length < 0 ? 0 : (size_t)length < size ? (size_t)length : size - 1] = '\0';
    utf8_trim(text);
    return text;
}

char *variant_print(const variant *v, char *text, size_t size) {
    string s;
    types[TYPE(STRING)].construct(&s, NULL);
    godot.variant_stringify(v, &s);
    print_string(&s, text, size);
    string_drop(&s);
    return text;
}

char *variant_utf8(const variant *v, size_t *length) {
    const void *s = variant_inside(v);
    GDExtensionInt size = godot.string_to_utf8_chars(s, NULL, 0);
    char *text = malloc((size_t)size + 1);
    if (text == NULL) return NULL;
    godot.string_to_utf8_chars(s, text, size);
    text[size] = '\0';
    if (length != NULL) *length = (size_t)size;
    return text;
}

variant variant_do(variant *self, const string *method, const variant *const *arguments, int count) {
    variant result;
    GDExtensionCallError error;
    godot.variant_call(self, method, (const GDExtensionConstVariantPtr *)arguments, count, &result, &error);
    return result;
}

char *type_name(GDExtensionVariantType type, char *text, size_t size) {
    string s;
    godot.variant_get_type_name(type, &s);
    print_string(&s, text, size);
    string_drop(&s);
    return text;
}

int node_is_paused(GDExtensionObjectPtr node) {
    GDExtensionObjectPtr tree = NULL;
    GDExtensionBool paused = 0;
    godot.object_method_bind_ptrcall(node_tree, node, NULL, &tree);
    if (tree != NULL) godot.object_method_bind_ptrcall(tree_paused, tree, NULL, &paused);
    return paused;
}

/* ---- JSON and images ------------------------------------------------------------------------------------------------ */

variant json_parse(const char *text, size_t length) {
    variant argument = variant_text(text, length), value;
    const GDExtensionConstVariantPtr arguments[] = {&argument};
    GDExtensionCallError error;
    godot.object_method_bind_call(json_parse_string, NULL, arguments, 1, &value, &error);
    variant_drop(&argument);
    return value;
}

variant json_print(const variant *v) {
    variant indent = variant_text("", 0), sorted = variant_bool(0), exact = variant_bool(1), text;
    const GDExtensionConstVariantPtr arguments[] = {v, &indent, &sorted, &exact};
    GDExtensionCallError error;
    godot.object_method_bind_call(json_stringify, NULL, arguments, 4, &text, &error);
    variant_drop(&indent);
    return text;
}

/* Image.Format */
enum { FORMAT_L8 = 0, FORMAT_RGB8 = 4, FORMAT_RGBA8 = 5 };

const void *image_bytes(const variant *v, int64_t width, int64_t height, int64_t channels, char *why, size_t why_size) {
    GDExtensionObjectPtr object = *(GDExtensionObjectPtr *)variant_inside(v);
    if (object != NULL) object = godot.object_cast_to(object, image_tag);
    if (object == NULL) return snprintf(why, why_size, "is an object, but no Image"), NULL;
    int64_t has_width, has_height, has_format, wants_format = channels == 1 ? FORMAT_L8 : channels == 3 ? FORMAT_RGB8 : FORMAT_RGBA8;
    GDExtensionBool has_mipmaps;
    godot.object_method_bind_ptrcall(image_width, object, NULL, &has_width);
    godot.object_method_bind_ptrcall(image_height, object, NULL, &has_height);
    godot.object_method_bind_ptrcall(image_format, object, NULL, &has_format);
    godot.object_method_bind_ptrcall(image_has_mipmaps, object, NULL, &has_mipmaps);
    if (has_width != width || has_height != height) {
        snprintf(why, why_size, "is an Image of %lld x %lld pixels, and the space says %lld x %lld; Image.resize() helps",
                 (long long)has_width, (long long)has_height, (long long)width, (long long)height);
        return NULL;
    }
    if (has_format != wants_format || has_mipmaps) {
        const char *format = channels == 1 ? "FORMAT_L8" : channels == 3 ? "FORMAT_RGB8" : "FORMAT_RGBA8";
        snprintf(why, why_size, "is an Image of another format than the %s without mipmaps that %lld channels want; Image.convert() helps",
                 format, (long long)channels);
        return NULL;
    }
    return godot.image_ptr(object);
}

/* ---- Classes -------------------------------------------------------------------------------------------------------- */

enum { USAGE_DEFAULT = 6, USAGE_NIL_IS_VARIANT = 131072 };

/* What the engine wants to know of an argument, a result or a property. */
typedef struct info {
    string name, class_name, hint_text;
    GDExtensionPropertyInfo about;
} info;

static void info_fill(info *i, const char *name, GDExtensionVariantType type, uint32_t hint, const char *hint_text) {
    i->name = name_new(name), i->class_name = name_new(""), i->hint_text = string_new(hint_text, strlen(hint_text));
    i->about.type = type, i->about.name = &i->name, i->about.class_name = &i->class_name;
    i->about.hint = hint, i->about.hint_string = &i->hint_text;
    i->about.usage = type == TYPE(NIL) ? USAGE_DEFAULT | USAGE_NIL_IS_VARIANT : USAGE_DEFAULT;
}

static void info_drop(info *i) { name_drop(&i->name), name_drop(&i->class_name), string_drop(&i->hint_text); }

static void arguments_fill(info *infos, GDExtensionPropertyInfo *abouts, const argument *arguments, int count) {
    for (int i = 0; i < count; i++) {
        info_fill(&infos[i], arguments[i].name, arguments[i].type, HINT_NONE, "");
        abouts[i] = infos[i].about;
    }
}

static void call_method(void *data, GDExtensionClassInstancePtr instance, const GDExtensionConstVariantPtr *arguments, GDExtensionInt count,
                        GDExtensionVariantPtr out, GDExtensionCallError *error) {
    const method *m = data;
    error->error = GDEXTENSION_CALL_OK;
    if (count < m->required) error->error = GDEXTENSION_CALL_ERROR_TOO_FEW_ARGUMENTS, error->expected = m->required;
    if (count > m->num_arguments) error->error = GDEXTENSION_CALL_ERROR_TOO_MANY_ARGUMENTS, error->expected = m->num_arguments;
    if (error->error != GDEXTENSION_CALL_OK) return;
    variant result = variant_nil();
    m->call(instance, (const variant *const *)arguments, (int)count, &result);
    godot.variant_destroy(out);
    godot.variant_new_copy(out, &result);
    variant_drop(&result);
}

/* The same with bare values instead of variants, all of them given: what the engine uses where it knows the types. */
static void call_method_bare(void *data, GDExtensionClassInstancePtr instance, const GDExtensionConstTypePtr *values,
                             GDExtensionTypePtr out) {
    const method *m = data;
    variant wrapped[MAX_ARGUMENTS], result = variant_nil();
    const variant *arguments[MAX_ARGUMENTS];
    for (int i = 0; i < m->num_arguments; i++) {
        GDExtensionVariantType type = m->arguments[i].type;
        void *value = (void *)(uintptr_t)values[i];
        if (type == TYPE(NIL)) godot.variant_new_copy(&wrapped[i], value);
        else types[type].wrap(&wrapped[i], value);
        arguments[i] = &wrapped[i];
    }
    m->call(instance, arguments, m->num_arguments, &result);
    if (m->result.name != NULL) {
        GDExtensionVariantType type = m->result.type;
        if (types[type].destroy != NULL) types[type].destroy(out);
        types[type].unwrap(out, &result);
    }
    for (int i = 0; i < m->num_arguments; i++) variant_drop(&wrapped[i]);
    variant_drop(&result);
}

void class_method(GDExtensionClassLibraryPtr library, const char *class_name, const method *m) {
    string class = name_new(class_name), name = name_new(m->name);
    info infos[MAX_ARGUMENTS], result;
    GDExtensionPropertyInfo abouts[MAX_ARGUMENTS];
    GDExtensionClassMethodArgumentMetadata metadata[MAX_ARGUMENTS] = {GDEXTENSION_METHOD_ARGUMENT_METADATA_NONE};
    variant nil = variant_nil();
    GDExtensionVariantPtr defaults[MAX_ARGUMENTS] = {&nil, &nil, &nil, &nil};
    arguments_fill(infos, abouts, m->arguments, m->num_arguments);
    GDExtensionClassMethodInfo about = {.name = &name, .method_userdata = (void *)(uintptr_t)m};
    about.call_func = call_method, about.ptrcall_func = call_method_bare;
    about.method_flags = m->is_static ? GDEXTENSION_METHOD_FLAG_NORMAL | GDEXTENSION_METHOD_FLAG_STATIC : GDEXTENSION_METHOD_FLAG_NORMAL;
    info_fill(&result, "", m->result.type, HINT_NONE, "");
    about.has_return_value = m->result.name != NULL, about.return_value_info = &result.about;
    about.argument_count = (uint32_t)m->num_arguments, about.arguments_info = abouts, about.arguments_metadata = metadata;
    about.default_argument_count = (uint32_t)(m->num_arguments - m->required), about.default_arguments = defaults;
    godot.classdb_register_extension_class_method(library, &class, &about);
    for (int i = 0; i < m->num_arguments; i++) info_drop(&infos[i]);
    info_drop(&result), name_drop(&class), name_drop(&name);
}

void class_virtual_method(GDExtensionClassLibraryPtr library, const char *class_name, const virtual_method *m) {
    string class = name_new(class_name), name = name_new(m->name);
    info infos[MAX_ARGUMENTS], result;
    GDExtensionPropertyInfo abouts[MAX_ARGUMENTS];
    GDExtensionClassMethodArgumentMetadata metadata[MAX_ARGUMENTS] = {GDEXTENSION_METHOD_ARGUMENT_METADATA_NONE};
    arguments_fill(infos, abouts, m->arguments, m->num_arguments);
    info_fill(&result, "", m->result.type, HINT_NONE, "");
    if (m->result.name == NULL) result.about.usage = USAGE_DEFAULT;
    GDExtensionClassVirtualMethodInfo about = {.name = &name, .method_flags = GDEXTENSION_METHOD_FLAG_VIRTUAL};
    about.return_value = result.about;
    about.argument_count = (uint32_t)m->num_arguments, about.arguments = abouts, about.arguments_metadata = metadata;
    godot.classdb_register_extension_class_virtual_method(library, &class, &about);
    for (int i = 0; i < m->num_arguments; i++) info_drop(&infos[i]);
    info_drop(&result), name_drop(&class), name_drop(&name);
}

void class_signal(GDExtensionClassLibraryPtr library, const char *class_name, const signal *s) {
    string class = name_new(class_name), name = name_new(s->name);
    info infos[MAX_ARGUMENTS];
    GDExtensionPropertyInfo abouts[MAX_ARGUMENTS];
    arguments_fill(infos, abouts, s->arguments, s->num_arguments);
    godot.classdb_register_extension_class_signal(library, &class, &name, abouts, s->num_arguments);
    for (int i = 0; i < s->num_arguments; i++) info_drop(&infos[i]);
    name_drop(&class), name_drop(&name);
}

void class_property(GDExtensionClassLibraryPtr library, const char *class_name, const property *p) {
    char text[64];
    string class = name_new(class_name);
    snprintf(text, sizeof text, "set_%s", p->name);
    string setter = name_new(text);
    snprintf(text, sizeof text, "get_%s", p->name);
    string getter = name_new(text);
    info about;
    info_fill(&about, p->name, p->type, p->hint, p->hint_text);
    godot.classdb_register_extension_class_property(library, &class, &about.about, &setter, &getter);
    info_drop(&about), name_drop(&class), name_drop(&setter), name_drop(&getter);
}
