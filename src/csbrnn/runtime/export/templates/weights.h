/* Weights, indices and instructions of @name@: a csbrnn image, in little-endian words.
 *
 * Constant, so that linkers put it into flash; to choose a section, compile @name@.c with
 * -D@NAME@_SECTION='__attribute__((section(".model")))'. Only @name@.c includes this file. */
#ifndef @NAME@_WEIGHTS_H
#define @NAME@_WEIGHTS_H

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "images are little-endian, and used in place"
#endif

#ifndef @NAME@_SECTION
#define @NAME@_SECTION
#endif

@NAME@_ALIGNED static const uint64_t @name@_weights[@NAME@_FLASH_NBYTES / 8] @NAME@_SECTION = {
@words@};

#endif
