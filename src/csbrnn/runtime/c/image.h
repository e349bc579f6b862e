/* The image, byte for byte: little-endian, every table aligned to 64 bytes.
 *
 * docs/spec/program.md says what each field means; runtime/image.py writes it. An *address* is a
 * position in floats: in the stream's memory, or with CSBRNN_CONSTANT set in the constants.
 */
#ifndef CSBRNN_IMAGE_H
#define CSBRNN_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "csbrnn_config.h"

#define CSBRNN_VERSION 1u
#define CSBRNN_CONSTANT 0x80000000u
#define CSBRNN_NONE 0xffffffffu
#define CSBRNN_LINE 64u    /* alignment of everything large, in bytes: a cache line */
#define CSBRNN_STRIP 16u   /* rows of the widest strip, floats of a tile: one cache line */
#define CSBRNN_CHUNK 64u   /* elements that an element-wise program handles at a time */
#define CSBRNN_SLOTS 32u   /* its registers: 32 x 64 floats, 8 KiB of stack */

typedef struct { /* `count` records from byte `offset` of the image */
    uint64_t offset;
    uint32_t count;
    uint32_t reserved;
} csbrnn_table;

typedef struct {
    uint8_t magic[8]; /* "csbrnn\r\n": text-mode transfers damage it visibly */
    uint32_t version;
    uint32_t header_nbytes;
    uint64_t nbytes;
    uint64_t fingerprint; /* of the states' layout; Python compares it */
    uint32_t parts;       /* shares that the work is cut into: threads */
    uint32_t causal;
    uint32_t state_floats;
    uint32_t memory_floats;
    csbrnn_table streams, passes, moves, instructions, spans, sections, operations, constants;
    uint8_t reserved[16];
} csbrnn_header;

/* What lies from byte `offset` of an image on, and the table that its header calls `name`. C would
 * convert the pointers by itself, C++ does not. */
#define CSBRNN_ARRAY(type, image, offset) ((const type *)(const void *)((image) + (offset)))
#define CSBRNN_TABLE(type, image, name) \
    CSBRNN_ARRAY(type, image, CSBRNN_ARRAY(csbrnn_header, image, 0)->name.offset)

typedef struct {
    uint32_t width;
    uint32_t token; /* 1: one int32 a step, in 0 .. bound - 1 */
    uint32_t bound;
    uint32_t column; /* streams 2, 3, ..: start in the workspace, in floats a time step */
} csbrnn_stream;

enum { CSBRNN_INPUT = 0, CSBRNN_OUTPUT = 1 }; /* the streams that every image has */

typedef struct {
    uint32_t reverse;
    uint32_t first_move, reads, writes; /* reads, then writes, in `moves` */
    uint32_t first_instruction, instructions;
    uint32_t chunk_first, chunk_instructions; /* the same, for chunks of steps; 0: no such list */
} csbrnn_pass;

typedef struct {
    uint32_t stream, offset, address, length;
} csbrnn_move;

enum {
    CSBRNN_PRODUCT = 1,  /* a (+)= b + matrices: spans[first + part]; b: bias or NONE */
    CSBRNN_LSTM,         /* a: gates, b: cell, c: hidden */
    CSBRNN_GRU,          /* a: gates, b: input candidate, c: hidden candidate, d: hidden */
    CSBRNN_ELEMENTWISE,  /* operations[first .. first + count) */
    CSBRNN_SOFTMAX,      /* a = softmax(b) */
    CSBRNN_COPY,         /* a = b */
    CSBRNN_LOOKUP,       /* a = table[token at b]; count rows from byte `offset` */
    CSBRNN_QUANTIZE,     /* operand at a + part * d = b; c: bits of a static scale, or 0 */
    CSBRNN_CARRY,        /* chunk lists only: a = a of the step before */
    CSBRNN_OPCODES
};

enum {
    CSBRNN_BARRIER = 1,    /* earlier instructions must have ended in all parts */
    CSBRNN_ACCUMULATE = 2, /* product: add to the destination */
    CSBRNN_LOG = 4,        /* softmax: the logarithm */
    CSBRNN_EVERY = 8,      /* chunk lists only: for every step of the chunk at once */
    CSBRNN_SUMS = 16,      /* int8: the product leaves its sums to the gates, which scale them */
    CSBRNN_ARRIVE = 32     /* at the next barrier others wait for what comes before this one only */
};

typedef struct {
    uint8_t opcode, flags;
    uint16_t reserved;
    uint32_t length;
    uint32_t a, b, c, d;
    uint32_t first, count;
    uint64_t offset;
    uint8_t reserved2[24];
} csbrnn_instruction;

/* Gates with CSBRNN_SUMS: spans[first + part] has the units of a part, from a multiple of 16, and a
 * section of kind SCALE for each product, which says no more than where its sums are, gate by gate,
 * its operand, and whether to leave zeros. `offset` has for 16 units each these lines of 16: for
 * every gate its bias, then for every product 128 times the sum of a row's weights (int32) and the
 * row's scale. */
#define CSBRNN_LSTM_PRODUCTS 2u /* of x and h, each for all four gates */
#define CSBRNN_LSTM_LINES 20u
#define CSBRNN_GRU_PRODUCTS 4u /* of x and h for r and z, of x for n, of h for n */
#define CSBRNN_GRU_LINES 16u

typedef struct { /* one part's share of a product: whole rows, from a multiple of 16 */
    uint32_t row, rows, first_section, sections;
} csbrnn_span;

enum {
    CSBRNN_DENSE = 1, /* `count` strips of 16 rows from `row` on, every column */
    CSBRNN_STRIPS,    /* strips of `group` contiguous rows, each with its own columns */
    CSBRNN_BLOCKS,    /* up to `group` rows anywhere in 16 * windows, each its own columns */
    CSBRNN_SCALE,     /* int8: adds `count` rows' sums, scaled; if `windows`, leaves zeros */
    CSBRNN_BUNDLES    /* strips as well, sixteen at a time: up to 8 rows, in int8 16 */
};

enum { CSBRNN_FP32 = 0, CSBRNN_BF16 = 1, CSBRNN_INT8 = 2 };

/* Tiles of one kind and operand. Two numbers mean by the kind (docs/spec/program.md):
 *   columns   dense in fp32 and bf16: its width; strips in int8 and bundles: their lines
 *   windows   blocks: runs of 16 rows that masks cover; strips in int8 and bundles: how far a line
 *             looks, in 64 columns (in fp32 and bf16 in 16); scale: 1 to leave zeros */
typedef struct {
    uint8_t kind, group, windows, dtype;
    uint32_t count, columns, row;
    uint32_t source, source_length;
    uint32_t sums, column; /* int8: address of the sums, and first column of the operand */
    uint64_t heads, indices, values, values_nbytes; /* bytes into the image */
} csbrnn_section;

/* fp32 and bf16: where each line of a bundle begins, behind all lines' numbers, which count from
 * there: two bytes for each of its 16 strips. */
static inline const uint16_t *csbrnn_line_starts(const csbrnn_section *s,
                                                 const unsigned char *image) {
    return CSBRNN_ARRAY(uint16_t, image, s->indices + 32u * (uint64_t)s->columns);
}

/* What a part has to do for an instruction that has spans, and the first of a span's sections. */
static inline const csbrnn_span *csbrnn_span_of(const unsigned char *image,
                                                const csbrnn_instruction *in, uint32_t part) {
    return CSBRNN_TABLE(csbrnn_span, image, spans) + in->first + part;
}
static inline const csbrnn_section *csbrnn_sections_of(const unsigned char *image,
                                                       const csbrnn_span *span) {
    return CSBRNN_TABLE(csbrnn_section, image, sections) + span->first_section;
}

typedef struct {
    uint32_t row, rows, tiles, reserved;
} csbrnn_strip_head;

/* Sixteen strips of 8, 4, 2 or 1 rows, in int8 of 16, too, form a bundle. A line has the next two
 * columns of each strip, in int8 four, and their weights row by row: of one row of every strip. */
typedef struct {
    uint32_t row[16]; /* first of each; of those that the last bundle lacks NONE, in int8 a row behind all */
    uint32_t lines;
} csbrnn_bundle_head;

typedef struct {
    uint64_t mask; /* bit r: row `row + r` is one of the block's */
    uint32_t row, columns;
} csbrnn_block_head;

/* int8. A tile is 64 weights. Four strips of 16 or 8 rows form a quad, whose tiles alternate: a tile
 * has all rows of one strip, one after another, 64 / group columns each. Columns come in lines of 64
 * numbers, 16 columns for each strip: as many as four tiles of 16 rows or two of 8 take. */
#define CSBRNN_LINE_COLUMNS 16u

typedef struct {
    uint32_t row[4]; /* of each strip, from the span's first */
    uint32_t tiles;
} csbrnn_quad_head;

/* Lines of a section: numbers count from 64 * start and are below 64 * windows, of which `high`
 * holds the ninth bits (with 8 windows only). */
typedef struct {
    const uint8_t *numbers; /* 64 each */
    const uint64_t *high;
    const uint16_t *start;
} csbrnn_lines;

static inline csbrnn_lines csbrnn_lines_of(const unsigned char *indices, size_t lines,
                                           unsigned windows) {
    const unsigned char *high = indices + 64 * lines;
    const unsigned char *start = high + (windows > 4 ? 8 * lines : 0);
    const csbrnn_lines all = {indices, (const uint64_t *)(const void *)high,
                              (const uint16_t *)(const void *)start};
    return all;
}

/* For any number of lines that a file may claim, on machines of 32 bits, too. */
static inline uint64_t csbrnn_lines_nbytes(uint64_t lines, unsigned windows) {
    return (64u + 2u + (windows > 4 ? 8u : 0u)) * lines;
}

typedef struct {
    uint64_t rows;    /* bit 4 j + w: row `row + 16 w + j` of the span; weights in this order */
    uint64_t columns; /* bit j: column `column + j` */
    uint32_t row, column;
} csbrnn_int8_block;

/* Bytes of an operand's values in int8, and of what is read past their end. */
static inline size_t csbrnn_operand_nbytes(size_t length) {
    return ((length + 63u) & ~(size_t)63u) + 192u;
}

/* Floats of an operand in int8: 16 for its scale, then its values. */
static inline size_t csbrnn_operand_floats(size_t length) {
    return 16u + csbrnn_operand_nbytes(length) / 4u;
}

/* 64-byte tiles of a block in int8: strips of 16 rows, then one of 8 and one of 4. */
static inline size_t csbrnn_int8_block_tiles(size_t rows, size_t columns) {
    size_t remainder = rows % 16u;
    size_t tiles = rows / 16u * ((columns + 3u) / 4u);
    if (remainder & 8u) tiles += (columns + 7u) / 8u;
    if (remainder & 4u) tiles += (columns + 15u) / 16u;
    return tiles;
}

enum {
    CSBRNN_OP_LOAD, CSBRNN_OP_STORE, CSBRNN_OP_CONSTANT,
    CSBRNN_OP_NEG, CSBRNN_OP_SIGMOID, CSBRNN_OP_TANH, CSBRNN_OP_RELU,
    CSBRNN_OP_EXP, CSBRNN_OP_LOG, CSBRNN_OP_ABS,
    CSBRNN_OP_ADD, CSBRNN_OP_SUB, CSBRNN_OP_MUL, CSBRNN_OP_DIV,
    CSBRNN_OP_MAXIMUM, CSBRNN_OP_MINIMUM,
    CSBRNN_OPERATIONS
};

typedef struct {
    uint8_t op, to, a, b; /* slots */
    uint32_t operand;     /* load, store: address; constant: a float's bits */
} csbrnn_operation;

/* Indices are stored for whole groups of four columns: the widest tile. */
static inline size_t csbrnn_index_stride(size_t columns) { return (columns + 3u) & ~(size_t)3u; }

/* Floats of one block: a tile row of 16 (or 32) rows a column, then the remainder's strips of 8
 * (two columns a tile) and of 4 (four columns a tile). */
static inline size_t csbrnn_block_floats(size_t rows, size_t columns) {
    size_t remainder = rows % 16u;
    size_t tiles = rows / 16u * columns;
    if (remainder & 8u) tiles += (columns + 1u) / 2u;
    if (remainder & 4u) tiles += (columns + 3u) / 4u;
    return tiles * CSBRNN_STRIP;
}

static inline const csbrnn_header *csbrnn_header_of(const unsigned char *image) {
    return CSBRNN_ARRAY(csbrnn_header, image, 0);
}

#endif
