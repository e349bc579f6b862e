/* Kernels for x86-64 with AVX-512 and its VNNI, VBMI and VBMI2: Ice Lake, Zen 4 and later. */
#include <math.h>
#include <string.h>

#include "kernels.h"
#ifdef CSBRNN_X86
#include "simd_x86.h"
#ifdef __clang__
#pragma clang attribute push(                                                                  \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,"         \
                          "avx512vbmi2,avx2,fma,popcnt,bmi,bmi2"))),                         \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,bmi,bmi2")
#pragma GCC target("avx512vnni,avx512vbmi,avx512vbmi2")
#endif
#define CSBRNN_AVX512_VNNI
#include "simd_avx512.h"
#include "simd_int8_avx512.h"
#define ISA avx512_vnni
#include "kernels_template.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
typedef int csbrnn_kernels_avx512_vnni_not_empty; /* ISO C wants a declaration in every file */
