/* Instruction sets that this export leaves out, so that csbrnn's own sources link without them.
 * They have no name, by which @name@_init passes over them. */
#include "kernels.h"

@tables@
