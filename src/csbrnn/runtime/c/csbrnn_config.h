/* What a build has code for. Here it is everything; an export has its own version of this file, with
 * 0 for the formats that its weights are not in. Their kernels are then left out, and images that
 * need them refused. */
#ifndef CSBRNN_CONFIG_H
#define CSBRNN_CONFIG_H

#define CSBRNN_HAS_FP32 1 /* weights of matrices; all else is fp32 anyway */
#define CSBRNN_HAS_BF16 1
#define CSBRNN_HAS_INT8 1
#define CSBRNN_HAS_MANY 1 /* several streams at once: csbrnn_many.h */

#endif
