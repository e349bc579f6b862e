/* The product for several vectors, for AArch64. */
#include <math.h>
#include <string.h>

#include "many.h"
#ifdef CSBRNN_NEON
#include <arm_neon.h>
#include "simd_neon.h"
#include "kernels_math.h"
#include "kernels_tile.h"
#define PRODUCT_MANY csbrnn_product_many_neon
#include "kernels_many.h"
#endif
typedef int csbrnn_kernels_many_neon_not_empty; /* ISO C wants a declaration in every file */
