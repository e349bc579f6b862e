/* Kernels for any machine. */
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "simd_baseline.h"
#include "simd_int8_baseline.h"
#define ISA baseline
#include "kernels_template.h"
