/* The intrinsics of x86-64. In some of them a register may hold anything at first, of which gcc 12
 * warns when it compiles C++. */
#ifndef CSBRNN_SIMD_X86_H
#define CSBRNN_SIMD_X86_H

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#endif
