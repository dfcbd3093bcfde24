/* Elements: see elements.h. */
#include "elements.h"

#include <string.h>

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

void ferry__element(int dtype, double value, int64_t exact, int use_exact, char *out) {
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

int ferry__integer_range(int dtype, double *low, double *high) {
    static const double lows[] = {0, -128.0, 0, -32768.0, 0, -2147483648.0, 0, -9223372036854775808.0, 0};
    static const double highs[] = {1, 127, 255, 32767, 65535, 2147483647, 4294967295.0, 9223372036854774784.0, 18446744073709549568.0};
    if (dtype < FERRY_BOOL || dtype > FERRY_U64) return 0;
    *low = lows[dtype - FERRY_BOOL], *high = highs[dtype - FERRY_BOOL];
    return 1;
}

int64_t ferry__integer_at(int dtype, const char *at) {
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

double ferry__double_at(int dtype, const char *at) {
    float single;
    double value;
    uint64_t large;
    if (dtype == FERRY_F32) return memcpy(&single, at, sizeof single), (double)single;
    if (dtype == FERRY_F64) return memcpy(&value, at, sizeof value), value;
    if (dtype == FERRY_U64) return memcpy(&large, at, sizeof large), (double)large;
    return (double)ferry__integer_at(dtype, at);
}

uint64_t ferry__element_order(int dtype, const char *at) {
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
