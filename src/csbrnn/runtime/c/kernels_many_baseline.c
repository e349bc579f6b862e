/* The product for several vectors, for any machine. */
#include <math.h>
#include <string.h>

#include "many.h"
#include "simd_baseline.h"
#include "kernels_math.h"
#include "kernels_tile.h"
#define PRODUCT_MANY csbrnn_product_many_baseline
#include "kernels_many.h"
