/* What every instruction set provides: one table of functions, compiled from one source. */
#ifndef CSBRNN_KERNELS_H
#define CSBRNN_KERNELS_H

#include "image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csbrnn_frame { /* what addresses are relative to */
    const unsigned char *image;
    const float *constants;
    float *memory;
} csbrnn_frame;

typedef struct csbrnn_kernels {
    const char *name;
    /* Rows of one span of a product. */
    void (*product)(const csbrnn_frame *, const csbrnn_instruction *, const csbrnn_span *,
                    const csbrnn_section *);
    /* The same for the memories of `count` lanes, which share the reading of weights in int8. The
     * frame has none. */
    void (*product_lanes)(const csbrnn_frame *, const csbrnn_instruction *, const csbrnn_span *,
                          const csbrnn_section *, float *const *lanes, size_t count);
    /* Elements [first, last) of an instruction of `length` elements. */
    void (*lstm)(const csbrnn_frame *, const csbrnn_instruction *, size_t first, size_t last);
    void (*gru)(const csbrnn_frame *, const csbrnn_instruction *, size_t first, size_t last);
    /* Units of a span, from sums of products. */
    void (*lstm_sums)(const csbrnn_frame *, const csbrnn_instruction *, const csbrnn_span *,
                      const csbrnn_section *);
    void (*gru_sums)(const csbrnn_frame *, const csbrnn_instruction *, const csbrnn_span *,
                     const csbrnn_section *);
    void (*elementwise)(const csbrnn_frame *, const csbrnn_instruction *,
                        const csbrnn_operation *, size_t first, size_t last);
    void (*softmax)(const csbrnn_frame *, const csbrnn_instruction *);
    /* This part's own copy of an operand in int8. */
    void (*quantize)(const csbrnn_frame *, const csbrnn_instruction *, uint32_t part);
} csbrnn_kernels;

/* Of an instruction set that was left out: no name, and a NULL for each function above. */
#define CSBRNN_NO_KERNELS {"", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}

extern const csbrnn_kernels csbrnn_kernels_baseline;
#if defined(__x86_64__) && !defined(CSBRNN_NO_SIMD)
#define CSBRNN_X86 1
extern const csbrnn_kernels csbrnn_kernels_avx2;
extern const csbrnn_kernels csbrnn_kernels_avx2_vnni;
extern const csbrnn_kernels csbrnn_kernels_avx512;
extern const csbrnn_kernels csbrnn_kernels_avx512_vnni;
#endif
#if defined(__ARM_NEON) && defined(__aarch64__) && !defined(CSBRNN_NO_SIMD)
#define CSBRNN_NEON 1
extern const csbrnn_kernels csbrnn_kernels_neon;
extern const csbrnn_kernels csbrnn_kernels_neon_dot;
#endif

/* For a type of which every instruction set has its own: in C++ a name means the same type in all
 * files of a program, unless it is told. */
#ifdef __cplusplus
#define CSBRNN_OWN(...) namespace { __VA_ARGS__ }
#else
#define CSBRNN_OWN(...) __VA_ARGS__
#endif

static inline const float *csbrnn_at(const csbrnn_frame *frame, uint32_t address) {
    return address & CSBRNN_CONSTANT ? frame->constants + (address & ~CSBRNN_CONSTANT)
                                     : frame->memory + address;
}

#ifdef __cplusplus
}
#endif
#endif
