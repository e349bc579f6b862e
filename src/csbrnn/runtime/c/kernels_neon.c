/* Kernels for AArch64. */
#include <math.h>
#include <string.h>

#include "kernels.h"
#ifdef CSBRNN_NEON
#include <arm_neon.h>
#include "simd_neon.h"
#include "simd_int8_neon.h"
#define ISA neon
#include "kernels_template.h"
#endif
typedef int csbrnn_kernels_neon_not_empty; /* ISO C wants a declaration in every file */
