/* The engine's C interface: the functions of gdextension_interface.h that are used, names that are looked up once, and values.
 *
 * Nothing here knows Ferry. Values of the engine's own types (String, Dictionary, PackedFloat32Array, ...) are opaque words, as large as the
 * largest build of the engine makes them; they are only ever handed to the engine by their address. */
#ifndef FERRY_GODOT_ENGINE_H
#define FERRY_GODOT_ENGINE_H

#include <gdextension_interface.h>

#include <stddef.h>
#include <stdint.h>

#define TYPE(name) GDEXTENSION_VARIANT_TYPE_##name

/* ---- Functions ------------------------------------------------------------------------------------------------------ */

#define ENGINE_FUNCTIONS(X)                                                                                                                \
    X(PrintErrorWithMessage, print_error_with_message)                                                                                     \
    X(PrintWarningWithMessage, print_warning_with_message)                                                                                 \
    X(VariantNewCopy, variant_new_copy)                                                                                                    \
    X(VariantNewNil, variant_new_nil)                                                                                                      \
    X(VariantDestroy, variant_destroy)                                                                                                     \
    X(VariantCall, variant_call)                                                                                                           \
    X(VariantGetType, variant_get_type)                                                                                                    \
    X(VariantGetTypeName, variant_get_type_name)                                                                                           \
    X(VariantSetKeyed, variant_set_keyed)                                                                                                  \
    X(VariantGetIndexed, variant_get_indexed)                                                                                              \
    X(VariantHasKey, variant_has_key)                                                                                                      \
    X(VariantStringify, variant_stringify)                                                                                                 \
    X(VariantGetPtrBuiltinMethod, variant_get_ptr_builtin_method)                                                                          \
    X(VariantGetPtrConstructor, variant_get_ptr_constructor)                                                                               \
    X(VariantGetPtrDestructor, variant_get_ptr_destructor)                                                                                 \
    X(GetVariantFromTypeConstructor, get_variant_from_type_constructor)                                                                    \
    X(GetVariantToTypeConstructor, get_variant_to_type_constructor)                                                                        \
    X(VariantGetInternalPtrFunc, variant_get_ptr_internal_getter)                                                                          \
    X(StringNewWithUtf8CharsAndLen, string_new_with_utf8_chars_and_len)                                                                    \
    X(StringToUtf8Chars, string_to_utf8_chars)                                                                                             \
    X(StringNameNewWithUtf8Chars, string_name_new_with_utf8_chars)                                                                         \
    X(ImagePtr, image_ptr)                                                                                                                 \
    X(PackedByteArrayOperatorIndex, packed_byte_array_operator_index)                                                                      \
    X(PackedInt32ArrayOperatorIndex, packed_int32_array_operator_index)                                                                    \
    X(PackedInt64ArrayOperatorIndex, packed_int64_array_operator_index)                                                                    \
    X(PackedFloat32ArrayOperatorIndex, packed_float32_array_operator_index)                                                                \
    X(PackedFloat64ArrayOperatorIndex, packed_float64_array_operator_index)                                                                \
    X(PackedByteArrayOperatorIndexConst, packed_byte_array_operator_index_const)                                                           \
    X(PackedInt32ArrayOperatorIndexConst, packed_int32_array_operator_index_const)                                                         \
    X(PackedInt64ArrayOperatorIndexConst, packed_int64_array_operator_index_const)                                                         \
    X(PackedFloat32ArrayOperatorIndexConst, packed_float32_array_operator_index_const)                                                     \
    X(PackedFloat64ArrayOperatorIndexConst, packed_float64_array_operator_index_const)                                                     \
    X(DictionaryOperatorIndexConst, dictionary_operator_index_const)                                                                       \
    X(ObjectMethodBindCall, object_method_bind_call)                                                                                       \
    X(ObjectMethodBindPtrcall, object_method_bind_ptrcall)                                                                                 \
    X(GlobalGetSingleton, global_get_singleton)                                                                                            \
    X(ObjectSetInstance, object_set_instance)                                                                                              \
    X(ObjectCastTo, object_cast_to)                                                                                                        \
    X(ObjectHasScriptMethod, object_has_script_method)                                                                                     \
    X(ObjectCallScriptMethod, object_call_script_method)                                                                                   \
    X(ClassdbConstructObject2, classdb_construct_object2)                                                                                  \
    X(ClassdbGetMethodBind, classdb_get_method_bind)                                                                                       \
    X(ClassdbGetClassTag, classdb_get_class_tag)                                                                                           \
    X(ClassdbRegisterExtensionClass4, classdb_register_extension_class4)                                                                   \
    X(ClassdbRegisterExtensionClassMethod, classdb_register_extension_class_method)                                                        \
    X(ClassdbRegisterExtensionClassVirtualMethod, classdb_register_extension_class_virtual_method)                                         \
    X(ClassdbRegisterExtensionClassProperty, classdb_register_extension_class_property)                                                    \
    X(ClassdbRegisterExtensionClassSignal, classdb_register_extension_class_signal)                                                        \
    X(ClassdbUnregisterExtensionClass, classdb_unregister_extension_class)

/* Of VariantGetInternalPtrFunc the type is named after what it returns; of all others, after the function. */
typedef GDExtensionInterfaceGetVariantGetInternalPtrFunc GDExtensionInterfaceVariantGetInternalPtrFunc;

#define ENGINE_FUNCTION(type, name) GDExtensionInterface##type name;
typedef struct engine_functions {
    ENGINE_FUNCTIONS(ENGINE_FUNCTION)
} engine_functions;
#undef ENGINE_FUNCTION

extern engine_functions godot;

/* ---- Values --------------------------------------------------------------------------------------------------------- */

typedef struct variant {
    uint64_t words[5];
} variant;

typedef struct string {
    uint64_t words[1];
} string; /* String, StringName, Array, Dictionary */

typedef struct packed {
    uint64_t words[2];
} packed; /* Packed...Array, Callable */

/* Looks everything up; 0 if this engine lacks something, which has been printed. Once, before anything else here. */
int engine_open(GDExtensionInterfaceGetProcAddress get_proc_address);

/* After the engine's classes are there, and before they go. */
void engine_begin(void);
void engine_end(void);

/* The StringName of a literal that is used over and over. */
#define ENGINE_NAMES(X)                                                                                                                    \
    X(_get_observation_space)                                                                                                              \
    X(_get_action_space)                                                                                                                   \
    X(_get_info_space)                                                                                                                     \
    X(_reset)                                                                                                                              \
    X(_apply_action)                                                                                                                       \
    X(_get_observation)                                                                                                                    \
    X(_get_reward)                                                                                                                         \
    X(_is_terminated)                                                                                                                      \
    X(_is_truncated)                                                                                                                       \
    X(_get_info)                                                                                                                           \
    X(_reset_completed)                                                                                                                    \
    X(emit_signal)                                                                                                                         \
    X(connect)                                                                                                                             \
    X(has_signal)                                                                                                                          \
    X(keys)                                                                                                                                \
    X(append)                                                                                                                              \
    X(erase)                                                                                                                               \
    X(duplicate)                                                                                                                           \
    X(get_tree)                                                                                                                            \
    X(get_name)                                                                                                                            \
    X(notification)                                                                                                                        \
    X(quit)                                                                                                                                \
    X(set_physics_process_internal)                                                                                                        \
    X(set_physics_process_priority)                                                                                                        \
    X(set_process_mode)                                                                                                                    \
    X(set_pause)

#define ENGINE_NAME(name) NAME_##name,
enum engine_name { ENGINE_NAMES(ENGINE_NAME) NUM_NAMES };
#undef ENGINE_NAME

extern string engine_names[NUM_NAMES];
#define NAME(name) (&engine_names[NAME_##name])

/* Makes values; the caller destroys them with variant_drop (those of numbers, flags and objects need none). */
variant variant_nil(void);
variant variant_bool(int value);
variant variant_int(int64_t value);
variant variant_float(double value);
variant variant_text(const char *text, size_t length);
variant variant_object(GDExtensionObjectPtr object);
variant variant_empty(GDExtensionVariantType type); /* an Array, a Dictionary */
variant variant_packed(GDExtensionVariantType type, const void *elements, uint64_t count); /* a Packed...Array of bytes, ints or floats */
variant variant_method(GDExtensionObjectPtr object, const string *method); /* a Callable */
void variant_drop(variant *v);

GDExtensionVariantType variant_type(const variant *v);
void *variant_inside(const variant *v); /* the value of its type, in place */

/* A number, if it is one: a bool, an int or a float. */
int variant_as_double(const variant *v, double *out);
/* The same, if it is a whole one. */
int variant_as_int(const variant *v, int64_t *out);

/* Elements of an Array or of a Packed...Array, components of a vector or colour; -1 if it has none. */
int64_t variant_count(const variant *v);
variant variant_element(const variant *v, int64_t index);
/* The elements of a Packed...Array of bytes, ints or floats, and the size of each; NULL for others and for an empty one. */
const void *variant_elements(const variant *v, uint32_t *element_bytes);

/* Of a Dictionary: NULL if there is no such key. Valid until it is changed. */
const variant *variant_at(const variant *dictionary, const variant *key);
variant variant_get(const variant *dictionary, const char *key); /* nil if there is no such key */
void variant_set(variant *dictionary, const char *key, variant value); /* takes the value */

/* Takes away the beginning of a character at the end of UTF-8, where the room for it has ended. */
void utf8_trim(char *text);

/* UTF-8, cut off before the character for which there is no room. Of anything: as the engine prints it. */
char *variant_print(const variant *v, char *text, size_t size);
/* UTF-8 in fresh memory, for the caller to free; NULL without memory. v is a String. */
char *variant_utf8(const variant *v, size_t *length);

/* Calls a method by name; the result is nil if that failed. */
variant variant_do(variant *self, const string *method, const variant *const *arguments, int count);

/* What the engine calls a type, for messages. */
char *type_name(GDExtensionVariantType type, char *text, size_t size);

/* JSON. */
variant json_parse(const char *text, size_t length);
variant json_print(const variant *v);

/* An Image's bytes, if v holds an Image without mipmaps of this size and number of channels; else NULL, and what is amiss. */
const void *image_bytes(const variant *v, int64_t width, int64_t height, int64_t channels, char *why, size_t why_size);

/* Whether the tree that the node is in is paused. */
int node_is_paused(GDExtensionObjectPtr node);

/* ---- Classes -------------------------------------------------------------------------------------------------------- */

typedef struct argument {
    const char *name;
    GDExtensionVariantType type; /* NIL: anything */
} argument;

enum { MAX_ARGUMENTS = 4 };

/* A method that scripts may call. instance is NULL if it is static. Arguments beyond `required` may be missing: count says. */
typedef struct method {
    const char *name;
    void (*call)(void *instance, const variant *const *arguments, int count, variant *out);
    argument result; /* no name: there is none */
    argument arguments[MAX_ARGUMENTS];
    int num_arguments, required;
    int is_static;
} method;

/* A method that scripts may have. */
typedef struct virtual_method {
    const char *name;
    argument result; /* no name: there is none */
    argument arguments[MAX_ARGUMENTS];
    int num_arguments;
} virtual_method;

typedef struct signal {
    const char *name;
    argument arguments[MAX_ARGUMENTS];
    int num_arguments;
} signal;

/* A property with methods set_NAME and get_NAME, which are registered before it. */
typedef struct property {
    const char *name;
    GDExtensionVariantType type;
    uint32_t hint;
    const char *hint_text;
} property;

enum { HINT_NONE = 0, HINT_RANGE = 1, HINT_ENUM = 2 };

void class_method(GDExtensionClassLibraryPtr library, const char *class_name, const method *m);
void class_virtual_method(GDExtensionClassLibraryPtr library, const char *class_name, const virtual_method *m);
void class_signal(GDExtensionClassLibraryPtr library, const char *class_name, const signal *s);
void class_property(GDExtensionClassLibraryPtr library, const char *class_name, const property *p);

string name_new(const char *text);
void name_drop(string *name);

#endif
