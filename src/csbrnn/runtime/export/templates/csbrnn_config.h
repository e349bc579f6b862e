/* What this build has code for: the formats that the model's weights are in, one stream. */
#ifndef CSBRNN_CONFIG_H
#define CSBRNN_CONFIG_H

/* Exports that share the runtime's sources need what any of them has: -DCSBRNN_HAS_INT8=1. */
#ifndef CSBRNN_HAS_FP32
#define CSBRNN_HAS_FP32 @has_fp32@ /* weights of matrices; all else is fp32 anyway */
#endif
#ifndef CSBRNN_HAS_BF16
#define CSBRNN_HAS_BF16 @has_bf16@
#endif
#ifndef CSBRNN_HAS_INT8
#define CSBRNN_HAS_INT8 @has_int8@
#endif
#define CSBRNN_HAS_MANY 0 /* a device runs one stream */

#endif
