/* The product for several vectors, for x86-64 with AVX2 and FMA. */
#include <math.h>
#include <string.h>

#include "many.h"
#ifdef CSBRNN_X86
#include "simd_x86.h"
#ifdef __clang__
#pragma clang attribute push(                                                                  \
    __attribute__((target("avx2,fma,popcnt,bmi,bmi2"))),    \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,popcnt,bmi,bmi2")
#endif
#include "simd_avx2.h"
#include "kernels_math.h"
#include "kernels_tile.h"
#define PRODUCT_MANY csbrnn_product_many_avx2
#include "kernels_many.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
typedef int csbrnn_kernels_many_avx2_not_empty; /* ISO C wants a declaration in every file */
