/* Elements: see elements.h. */
#include "elements.h"

#include <string.h>

/* Every dtype that C has a type for. */
#define FERRY__INTEGERS(X)                                                                                                                 \
    X(FERRY_BOOL, uint8_t)                                                                                                                 \
    X(FERRY_I8, int8_t)                                                                                                                    \
    X(FERRY_U8, uint8_t)                                                                                                                   \
    X(FERRY_I16, int16_t)                                                                                                                  \
    X(FERRY_U16, uint16_t)                                                                                                                 \
    X(FERRY_I32, int32_t)                                                                                                                  \
    X(FERRY_U32, uint32_t)                                                                                                                 \
    X(FERRY_I64, int64_t)                                                                                                                  \
    X(FERRY_U64, uint64_t)
#define FERRY__REALS(X)                                                                                                                    \
    X(FERRY_F32, float)                                                                                                                    \
    X(FERRY_F64, double)

uint32_t ferry_dtype_bytes(int dtype) {
#define FERRY__BYTES(name, type)                                                                                                           \
    case name: return sizeof(type);
    switch (dtype) {
        FERRY__INTEGERS(FERRY__BYTES)
        FERRY__REALS(FERRY__BYTES)
    case FERRY_F16: return 2;
    default: return 0;
    }
}

void ferry__element(int dtype, double value, int64_t exact, int use_exact, char *out) {
#define FERRY__PUT(name, type)                                                                                                             \
    case name: {                                                                                                                           \
        type v = use_exact ? (type)exact : (type)value;                                                                                    \
        memcpy(out, &v, sizeof v);                                                                                                         \
        return;                                                                                                                            \
    }
    switch (dtype) {
        FERRY__INTEGERS(FERRY__PUT)
        FERRY__REALS(FERRY__PUT)
    }
}

int ferry__integer_range(int dtype, double *low, double *high) {
    static const double lows[] = {0, -128.0, 0, -32768.0, 0, -2147483648.0, 0, -9223372036854775808.0, 0};
    static const double highs[] = {1, 127, 255, 32767, 65535, 2147483647, 4294967295.0, 9223372036854774784.0, 18446744073709549568.0};
    if (dtype < FERRY_BOOL || dtype > FERRY_U64) return 0;
    *low = lows[dtype - FERRY_BOOL], *high = highs[dtype - FERRY_BOOL];
    return 1;
}

#define FERRY__READ(name, type)                                                                                                            \
    case name: {                                                                                                                           \
        type v;                                                                                                                            \
        memcpy(&v, at, sizeof v);                                                                                                          \
        return v;                                                                                                                          \
    }

int64_t ferry__integer_at(int dtype, const char *at) {
    switch (dtype) {
        FERRY__INTEGERS(FERRY__READ)
    default: return 0;
    }
}

double ferry__double_at(int dtype, const char *at) {
    switch (dtype) {
        FERRY__INTEGERS(FERRY__READ)
        FERRY__REALS(FERRY__READ)
    default: return 0;
    }
}

uint64_t ferry__element_order(int dtype, const char *at) {
    const uint64_t sign = (uint64_t)1 << 63;
    uint64_t bits;
    if (dtype < FERRY_F16) {
        bits = (uint64_t)ferry__integer_at(dtype, at);
        return dtype == FERRY_U64 ? bits : bits ^ sign;
    }
    bits = (uint64_t)ferry__integer_at(dtype == FERRY_F16 ? FERRY_U16 : dtype == FERRY_F32 ? FERRY_U32 : FERRY_U64, at);
    bits <<= 64 - 8 * ferry_dtype_bytes(dtype);
    if (bits == sign) bits = 0; /* -0 is 0 */
    return (bits & sign) != 0 ? ~bits : bits | sign;
}
