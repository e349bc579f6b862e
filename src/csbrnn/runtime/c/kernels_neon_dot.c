/* Kernels for AArch64 with dot products: Cortex-A55, A76, Apple A11 and later. */
#include <math.h>
#include <string.h>

#include "kernels.h"
#ifdef CSBRNN_NEON
#include <arm_neon.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#define CSBRNN_NEON_DOT
#include "simd_neon.h"
#include "simd_int8_neon.h"
#define ISA neon_dot
#include "kernels_template.h"
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
typedef int csbrnn_kernels_neon_dot_not_empty; /* ISO C wants a declaration in every file */
