/* Error texts: see errors.h. */
#include "errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *ferry_strerror(int err) {
    switch (err) {
    case FERRY_OK: return "no error";
#define FERRY__CASE(name, value, text)                                                                                                     \
    case name: return text;
        FERRY_ERRORS(FERRY__CASE)
#undef FERRY__CASE
    default: return "unknown error";
    }
}

uint32_t ferry_version(void) { return FERRY_VERSION; }

static void ferry__write(ferry_why *why, size_t from, const char *format, va_list arguments) {
    vsnprintf(why->text + from, sizeof why->text - from, format, arguments);
}

int ferry__fail(ferry_why *why, int code, const char *format, ...) {
    if (why != NULL) {
        va_list arguments;
        why->code = code;
        va_start(arguments, format);
        ferry__write(why, 0, format, arguments);
        va_end(arguments);
    }
    return code;
}

int ferry__no_memory(ferry_why *why) { return ferry__fail(why, FERRY_ENOMEM, "out of memory"); }

void ferry__also(ferry_why *why, const char *format, ...) {
    if (why != NULL) {
        va_list arguments;
        va_start(arguments, format);
        ferry__write(why, strlen(why->text), format, arguments);
        va_end(arguments);
    }
}

int ferry__fail_os(ferry_why *why, int code, const char *format, ...) {
    char said[256];
    va_list arguments;
    ferry__platform_says(said, sizeof said);
    why->code = code;
    va_start(arguments, format);
    ferry__write(why, 0, format, arguments);
    va_end(arguments);
    ferry__also(why, ": %s", said);
    return code;
}

int ferry__check_open(const char *what, const void *out, const uint32_t *struct_size, size_t bytes, ferry_why *why) {
    if (out == NULL) return ferry__fail(why, FERRY_EINVAL, "ferry_%s_open needs a place for the handle", what);
    if (struct_size == NULL || *struct_size != bytes)
        return ferry__fail(why, FERRY_EINVAL,
                           "set ferry_%s_desc.struct_size to sizeof(ferry_%s_desc); are header and library of one version?", what, what);
    return ferry__fail(why, 0, "%s", "");
}
