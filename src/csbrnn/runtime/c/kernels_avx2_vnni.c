/* Kernels for x86-64 with AVX2, FMA and AVX-VNNI: Alder Lake, Zen 5 and later. */
#include <math.h>
#include <string.h>

#include "kernels.h"
#ifdef CSBRNN_X86
#include "simd_x86.h"
#ifdef __clang__
#pragma clang attribute push(                                                                  \
    __attribute__((target("avx2,fma,popcnt,bmi,bmi2,avxvnni"))),    \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,popcnt,bmi,bmi2,avxvnni")
#endif
#define CSBRNN_AVX_VNNI
#include "simd_avx2.h"
#include "simd_int8_avx2.h"
#define ISA avx2_vnni
#include "kernels_template.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
typedef int csbrnn_kernels_avx2_vnni_not_empty; /* ISO C wants a declaration in every file */
