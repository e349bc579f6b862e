/* Functions of which there is one for each shape of tile, strip or block. */
#ifndef CSBRNN_SHAPED_H
#define CSBRNN_SHAPED_H

/* A function whose callers give constants for its `unsigned` arguments, and each call of which must
 * have code of its own: left to itself gcc 12 made one loop of several, which decided at every line
 * which of them it was (measured: bf16 in 28.9 us for 27.4). With narrow vectors, whose lines take
 * longer, its own choice is better (measured, forced: AVX2 47 us for 43, and 180 KB of code for 99 in
 * the baseline). */
#if VL == 16
#define SHAPED static inline __attribute__((always_inline))
#else
#define SHAPED static inline
#endif

#endif
