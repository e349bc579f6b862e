/* The check that lets the rest of the library trust an image. */
#include <string.h>

#include "csbrnn.h"
#include "image.h"

typedef struct {
    const unsigned char *bytes;
    uint64_t nbytes;
    const csbrnn_header *header;
    /* Bytes that may still be looked at. Honest images have at most two instructions for a record,
     * one of steps and one of chunks, so that twice their size is enough; without it, tables that
     * point to one another would take cubic time to check. */
    uint64_t budget;
} checked;

static int spend(checked *c, uint64_t nbytes) {
    if (nbytes > c->budget) return 0;
    c->budget -= nbytes;
    return 1;
}

/* Whether `count` records of `size` bytes lie within the image, from an aligned start. Counts are
 * below 2^33 and sizes below 2^32, so that nothing overflows. */
static int inside(const checked *c, uint64_t offset, uint64_t count, uint64_t size) {
    return offset % CSBRNN_LINE == 0 && offset >= sizeof(csbrnn_header) && offset <= c->nbytes &&
           (count == 0 || size <= (c->nbytes - offset) / count);
}

/* Whether [first, first + count) lies within `total` records. */
static int within(uint64_t first, uint64_t count, uint64_t total) {
    return first <= total && count <= total - first;
}

/* `padded`: the whole strips of 16 that a vector is made of are touched. */
static int readable(const checked *c, uint32_t address, uint64_t length, int padded) {
    uint64_t limit = c->header->memory_floats, start = address;
    if (address & CSBRNN_CONSTANT) {
        start = address & ~CSBRNN_CONSTANT;
        limit = c->header->constants.count;
    }
    if (padded) length = (length + 15u) & ~(uint64_t)15u;
    return within(start, length, limit);
}

static int writable(const checked *c, uint32_t address, uint64_t length, int padded) {
    return !(address & CSBRNN_CONSTANT) && readable(c, address, length, padded);
}

static int check_indices(const uint16_t *indices, uint64_t count, uint32_t below) {
    uint32_t most = 0; /* no early exit: the loop is vectorised */
    for (uint64_t k = 0; k < count; k++) most = indices[k] > most ? indices[k] : most;
    return count == 0 || most < below;
}

/* End of a span's last strip of 16 rows. */
static uint64_t strips_end(const csbrnn_span *span) {
    return ((uint64_t)span->row + span->rows + 15u) & ~(uint64_t)15u;
}

/* Bytes of a weight in fp32 or bf16. */
static uint64_t weight_nbytes(const csbrnn_section *s) { return s->dtype == CSBRNN_BF16 ? 2 : 4; }

static int check_dense(const checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    const uint64_t stop = (uint64_t)s->row + (uint64_t)s->count * CSBRNN_STRIP;
    return s->group == 16 && s->columns <= s->source_length && s->row >= span->row &&
           stop <= strips_end(span) && s->count <= UINT32_MAX / CSBRNN_STRIP &&
           inside(c, s->values, (uint64_t)s->count * s->columns, 16 * weight_nbytes(s));
}

static int check_strips(checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    const uint32_t group = s->group;
    if (group != 4 && group != 8 && group != 16) return 0;
    if (!inside(c, s->heads, s->count, sizeof(csbrnn_strip_head))) return 0;
    if (!spend(c, s->count * sizeof(csbrnn_strip_head))) return 0;
    const csbrnn_strip_head *head = CSBRNN_ARRAY(csbrnn_strip_head, c->bytes, s->heads);
    uint64_t tiles = 0;
    for (uint32_t k = 0; k < s->count; k++, head++) {
        if (head->rows > group || head->row < span->row || head->tiles > UINT32_MAX / 16u) return 0;
        if ((uint64_t)head->row + head->rows > (uint64_t)span->row + span->rows) return 0;
        tiles += head->tiles;
    }
    const uint64_t indices = tiles * (CSBRNN_STRIP / group);
    return inside(c, s->values, tiles, 16 * weight_nbytes(s)) &&
           inside(c, s->indices, indices, 2) && spend(c, indices * 2) &&
           check_indices(CSBRNN_ARRAY(uint16_t, c->bytes, s->indices), indices, s->source_length);
}

static int check_bundles(checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    const uint64_t lines = s->columns;
    const uint32_t reach = 16u * s->windows;
    uint64_t used = 0;
    if (s->group == 0 || s->group > 8 || s->group & (s->group - 1u)) return 0;
    if (reach != 64 && reach != 128) return 0;
    if (!inside(c, s->heads, s->count, sizeof(csbrnn_bundle_head))) return 0;
    if (!spend(c, s->count * sizeof(csbrnn_bundle_head) + 34 * lines)) return 0;
    if (!inside(c, s->indices, lines, 34)) return 0;
    const csbrnn_bundle_head *head = CSBRNN_ARRAY(csbrnn_bundle_head, c->bytes, s->heads);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        for (unsigned u = 0; u < 16 && head->row[u] != CSBRNN_NONE; u++)
            if (head->row[u] < span->row || (uint64_t)head->row[u] + s->group > strips_end(span))
                return 0;
        used += head->lines;
    }
    const uint16_t *start = csbrnn_line_starts(s, c->bytes);
    const uint8_t *numbers = c->bytes + s->indices;
    uint32_t stop = 0; /* no early exit, as above */
    uint8_t most = 0;
    for (uint64_t k = 0; k < lines; k++) stop = start[k] + reach > stop ? start[k] + reach : stop;
    for (uint64_t k = 0; k < 32 * lines; k++) most |= numbers[k];
    return most < reach && stop <= s->source_length && used <= lines &&
           inside(c, s->values, used * s->group, 32 * weight_nbytes(s));
}

static int check_blocks(checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    const uint64_t end = strips_end(span);
    uint64_t indices = 0, floats = 0;
    if (s->group == 0 || s->group > 32 || s->group % 4) return 0;
    if (s->windows == 0 || s->windows > 4) return 0;
    if (!inside(c, s->heads, s->count, sizeof(csbrnn_block_head))) return 0;
    if (!spend(c, s->count * sizeof(csbrnn_block_head))) return 0;
    const csbrnn_block_head *head = CSBRNN_ARRAY(csbrnn_block_head, c->bytes, s->heads);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        uint64_t mask = head->mask, rows = 0;
        if (s->windows < 4 && mask >> 16u * s->windows) return 0;
        for (; mask; mask &= mask - 1) rows++;
        if (rows > s->group || head->row < span->row || head->columns > 65536) return 0;
        if ((uint64_t)head->row + 16u * s->windows > end) return 0;
        indices += csbrnn_index_stride(head->columns);
        floats += csbrnn_block_floats(s->group, head->columns);
    }
    return inside(c, s->indices, indices, 2) && inside(c, s->values, floats, weight_nbytes(s)) &&
           spend(c, indices * 2) &&
           check_indices(CSBRNN_ARRAY(uint16_t, c->bytes, s->indices), indices, s->source_length);
}

/* Rows of sums that a span has in int8: what lies behind the last whole strip is padding. */
static uint64_t sums_rows(const csbrnn_span *span) {
    return (((uint64_t)span->rows + 15u) & ~(uint64_t)15u) + 16u;
}

static int check_lines(checked *c, const csbrnn_section *s) {
    const uint64_t lines = s->columns;
    const uint32_t windows = s->windows;
    if (windows != 2 && windows != 4 && windows != 8) return 0;
    const uint64_t nbytes = csbrnn_lines_nbytes(lines, windows);
    if (!inside(c, s->indices, nbytes, 1) || !spend(c, nbytes)) return 0;
    const csbrnn_lines line = csbrnn_lines_of(c->bytes + s->indices, lines, windows);
    const uint64_t reach = csbrnn_operand_nbytes((size_t)s->column + s->source_length);
    uint8_t most = 0;
    for (uint64_t k = 0; k < lines; k++)
        if (s->column + 64 * ((uint64_t)line.start[k] + windows) > reach) return 0;
    for (uint64_t k = 0; k < 64 * lines; k++) most |= line.numbers[k];
    return most < 64 * windows;
}

static int check_rows(const csbrnn_section *s, const csbrnn_span *span, const uint32_t *row,
                      unsigned strips) {
    for (unsigned u = 0; u < strips; u++)
        if ((uint64_t)row[u] + s->group > sums_rows(span)) return 0;
    return 1;
}

static int check_int8_quads(checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    const uint64_t each = s->group == 16 ? 4 : 8; /* columns of a tile */
    uint64_t lines = 0, tiles = 0;
    if ((s->group != 16 && s->group != 8) || !check_lines(c, s)) return 0;
    if (!inside(c, s->heads, s->count, sizeof(csbrnn_quad_head))) return 0;
    if (!spend(c, s->count * sizeof(csbrnn_quad_head))) return 0;
    const csbrnn_quad_head *head = CSBRNN_ARRAY(csbrnn_quad_head, c->bytes, s->heads);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        lines += (head->tiles * each + CSBRNN_LINE_COLUMNS - 1) / CSBRNN_LINE_COLUMNS;
        tiles += 4 * (uint64_t)head->tiles;
        if (!check_rows(s, span, head->row, 4)) return 0;
    }
    return lines <= s->columns && inside(c, s->values, tiles, 64);
}

static int check_int8_bundles(checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    uint64_t lines = 0;
    if (s->group == 0 || s->group > 16 || s->group & (s->group - 1u)) return 0;
    if (!check_lines(c, s)) return 0;
    if (!inside(c, s->heads, s->count, sizeof(csbrnn_bundle_head))) return 0;
    if (!spend(c, s->count * sizeof(csbrnn_bundle_head))) return 0;
    const csbrnn_bundle_head *head = CSBRNN_ARRAY(csbrnn_bundle_head, c->bytes, s->heads);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        lines += head->lines;
        if (!check_rows(s, span, head->row, 16)) return 0;
    }
    return lines <= s->columns && inside(c, s->values, lines * s->group, 64);
}

static int check_int8_blocks(checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    uint64_t tiles = 0;
    if (s->group == 0 || s->group > 32 || s->group % 4) return 0;
    if (s->windows == 0 || s->windows > 4) return 0;
    if (!inside(c, s->heads, s->count, sizeof(csbrnn_int8_block))) return 0;
    if (!spend(c, s->count * sizeof(csbrnn_int8_block))) return 0;
    const csbrnn_int8_block *head = CSBRNN_ARRAY(csbrnn_int8_block, c->bytes, s->heads);
    for (uint32_t k = 0; k < s->count; k++, head++) {
        uint64_t mask = head->rows, rows = 0, columns = 0;
        for (unsigned w = s->windows; w < 4; w++)
            if (mask >> w & 0x1111111111111111u) return 0; /* rows 16 w .. 16 w + 15 */
        for (; mask; mask &= mask - 1) rows++;
        for (mask = head->columns; mask; mask &= mask - 1) columns++;
        if (rows > s->group || head->column > s->source_length) return 0;
        if ((uint64_t)head->row + 16u * s->windows > sums_rows(span)) return 0;
        tiles += csbrnn_int8_block_tiles(s->group, columns);
    }
    return inside(c, s->values, tiles, 64);
}

static int check_int8(checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    const uint64_t columns = (uint64_t)s->column + s->source_length;
    const uint64_t rows = ((uint64_t)s->count + 15u) & ~(uint64_t)15u;
    if (columns > CSBRNN_CONSTANT || !writable(c, s->sums, sums_rows(span), 0)) return 0;
    if (!writable(c, s->source, csbrnn_operand_floats(columns), 0)) return 0;
    switch (s->kind) {
        case CSBRNN_DENSE:
            return s->group == 16 && s->count <= UINT32_MAX / CSBRNN_STRIP &&
                   (uint64_t)s->row + (uint64_t)s->count * CSBRNN_STRIP <= sums_rows(span) &&
                   inside(c, s->values, (uint64_t)s->count * ((columns - s->column + 3) / 4), 64);
        case CSBRNN_STRIPS: return check_int8_quads(c, s, span);
        case CSBRNN_BUNDLES: return check_int8_bundles(c, s, span);
        case CSBRNN_BLOCKS: return check_int8_blocks(c, s, span);
        case CSBRNN_SCALE:
            return s->group == 16 && s->count <= span->rows && inside(c, s->heads, rows, 4) &&
                   inside(c, s->values, rows, 4);
        default: return 0;
    }
}

static int check_section(checked *c, const csbrnn_section *s, const csbrnn_span *span) {
    if (s->source & CSBRNN_CONSTANT) return 0;
    if (CSBRNN_HAS_INT8 && s->dtype == CSBRNN_INT8) return check_int8(c, s, span);
    if (!(CSBRNN_HAS_FP32 && s->dtype == CSBRNN_FP32) &&
        !(CSBRNN_HAS_BF16 && s->dtype == CSBRNN_BF16))
        return 0;
    if (!readable(c, s->source, s->source_length, 0)) return 0;
    switch (s->kind) {
        case CSBRNN_DENSE: return check_dense(c, s, span);
        case CSBRNN_STRIPS: return check_strips(c, s, span);
        case CSBRNN_BUNDLES: return check_bundles(c, s, span);
        case CSBRNN_BLOCKS: return check_blocks(c, s, span);
        default: return 0;
    }
}

static int check_product(checked *c, const csbrnn_instruction *in) {
    const csbrnn_header *h = c->header;
    if (!writable(c, in->a, in->length, 1)) return 0;
    if (in->b != CSBRNN_NONE && !readable(c, in->b, in->length, 1)) return 0;
    if (!within(in->first, h->parts, h->spans.count)) return 0;
    if (!spend(c, h->parts * sizeof(csbrnn_span))) return 0;
    const csbrnn_span *span = CSBRNN_TABLE(csbrnn_span, c->bytes, spans) + in->first;
    for (uint32_t p = 0; p < h->parts; p++, span++) {
        if (span->row % 16 || !within(span->row, span->rows, in->length)) return 0;
        if (!within(span->first_section, span->sections, h->sections.count)) return 0;
        if (!spend(c, span->sections * sizeof(csbrnn_section))) return 0;
        const csbrnn_section *section = CSBRNN_TABLE(csbrnn_section, c->bytes, sections);
        section += span->first_section;
        for (uint32_t k = 0; k < span->sections; k++)
            if (!check_section(c, section + k, span)) return 0;
    }
    return 1;
}

/* Gates that take sums, `gates[k]` rows a unit from the k-th product. */
static int check_sums(checked *c, const csbrnn_instruction *in, const uint64_t *gates,
                      uint32_t products, uint64_t lines) {
    const csbrnn_header *h = c->header;
    const uint64_t units = ((uint64_t)in->length + 15u) / 16u;
    if (!inside(c, in->offset, units * lines, 64)) return 0;
    if (!within(in->first, h->parts, h->spans.count)) return 0;
    const csbrnn_span *span = CSBRNN_TABLE(csbrnn_span, c->bytes, spans) + in->first;
    if (!spend(c, h->parts * (sizeof *span + products * sizeof(csbrnn_section)))) return 0;
    for (uint32_t p = 0; p < h->parts; p++, span++) {
        if (span->sections != products || span->row % 16) return 0;
        if (!within(span->row, span->rows, in->length)) return 0;
        if (!within(span->first_section, products, h->sections.count)) return 0;
        const csbrnn_section *section = CSBRNN_TABLE(csbrnn_section, c->bytes, sections);
        section += span->first_section;
        for (uint32_t k = 0; k < products; k++, section++) {
            const uint64_t rows = gates[k] * span->rows;
            const csbrnn_span all = {0, (uint32_t)rows, 0, 0};
            if (rows > UINT32_MAX - 32u || section->dtype != CSBRNN_INT8) return 0;
            if (section->kind != CSBRNN_SCALE || !check_section(c, section, &all)) return 0;
        }
    }
    return 1;
}

static int check_lstm(checked *c, const csbrnn_instruction *in) {
    static const uint64_t gates[] = {4, 4};
    const uint64_t n = in->length;
    if (!writable(c, in->b, n, 0) || !writable(c, in->c, n, 0)) return 0;
    return in->flags & CSBRNN_SUMS
               ? check_sums(c, in, gates, CSBRNN_LSTM_PRODUCTS, CSBRNN_LSTM_LINES)
               : readable(c, in->a, 4 * n, 0);
}

static int check_gru(checked *c, const csbrnn_instruction *in) {
    static const uint64_t gates[] = {2, 2, 1, 1};
    const uint64_t n = in->length;
    if (!writable(c, in->d, n, 0)) return 0;
    return in->flags & CSBRNN_SUMS
               ? check_sums(c, in, gates, CSBRNN_GRU_PRODUCTS, CSBRNN_GRU_LINES)
               : readable(c, in->a, 2 * n, 0) && readable(c, in->b, n, 0) &&
                     readable(c, in->c, n, 0);
}

static int check_elementwise(checked *c, const csbrnn_instruction *in) {
    if (!within(in->first, in->count, c->header->operations.count)) return 0;
    if (!spend(c, in->count * sizeof(csbrnn_operation))) return 0;
    const csbrnn_operation *op = CSBRNN_TABLE(csbrnn_operation, c->bytes, operations);
    op += in->first;
    for (uint32_t k = 0; k < in->count; k++, op++) {
        const uint32_t slots = in->count < CSBRNN_SLOTS ? in->count : CSBRNN_SLOTS;
        if (op->op >= CSBRNN_OPERATIONS) return 0;
        if (op->to >= slots || op->a >= slots || op->b >= slots) return 0;
        if (op->op == CSBRNN_OP_LOAD && !readable(c, op->operand, in->length, 0)) return 0;
        if (op->op == CSBRNN_OP_STORE && !writable(c, op->operand, in->length, 0)) return 0;
    }
    return 1;
}

static int check_instruction(checked *c, const csbrnn_instruction *in) {
    const uint64_t n = in->length;
    switch (in->opcode) {
        case CSBRNN_PRODUCT: return check_product(c, in);
        case CSBRNN_LSTM: return check_lstm(c, in);
        case CSBRNN_GRU: return check_gru(c, in);
        case CSBRNN_ELEMENTWISE: return check_elementwise(c, in);
        case CSBRNN_SOFTMAX:
        case CSBRNN_COPY: return writable(c, in->a, n, 0) && readable(c, in->b, n, 0);
        case CSBRNN_QUANTIZE:
            return CSBRNN_HAS_INT8 && readable(c, in->b, n, 0) && in->d >= csbrnn_operand_floats(n) &&
                   writable(c, in->a, (uint64_t)in->d * c->header->parts, 0);
        case CSBRNN_LOOKUP:
            return writable(c, in->a, n, 0) && writable(c, in->b, 1, 0) && in->count > 0 &&
                   inside(c, in->offset, in->count, n * 4);
        case CSBRNN_CARRY: return writable(c, in->a, n, 0);
        default: return 0;
    }
}

static int check_instructions(checked *c, uint32_t first, uint32_t count) {
    const csbrnn_header *h = c->header;
    if (!within(first, count, h->instructions.count)) return 0;
    if (!spend(c, count * sizeof(csbrnn_instruction))) return 0;
    const csbrnn_instruction *in = CSBRNN_TABLE(csbrnn_instruction, c->bytes, instructions);
    for (uint32_t i = 0; i < count; i++)
        if (!check_instruction(c, in + first + i)) return 0;
    return 1;
}

static int check_pass(checked *c, const csbrnn_pass *pass) {
    const csbrnn_header *h = c->header;
    const csbrnn_stream *streams = CSBRNN_TABLE(csbrnn_stream, c->bytes, streams);
    if (!within(pass->first_move, (uint64_t)pass->reads + pass->writes, h->moves.count)) return 0;
    if (!spend(c, ((uint64_t)pass->reads + pass->writes) * sizeof(csbrnn_move))) return 0;
    const csbrnn_move *m = CSBRNN_TABLE(csbrnn_move, c->bytes, moves);
    m += pass->first_move;
    for (uint64_t k = 0; k < (uint64_t)pass->reads + pass->writes; k++, m++) {
        const int writes = k >= pass->reads;
        if (m->stream >= h->streams.count || (writes && m->stream == CSBRNN_INPUT)) return 0;
        if (!within(m->offset, m->length, streams[m->stream].width)) return 0;
        if (!writable(c, m->address, m->length, 0)) return 0;
    }
    return check_instructions(c, pass->first_instruction, pass->instructions) &&
           check_instructions(c, pass->chunk_first, pass->chunk_instructions);
}

static int check_streams(const checked *c) {
    const csbrnn_header *h = c->header;
    const csbrnn_stream *s = CSBRNN_TABLE(csbrnn_stream, c->bytes, streams);
    uint64_t column = 0;
    if (h->streams.count < 2) return 0;
    for (uint32_t k = 0; k < h->streams.count; k++) {
        if (s[k].token > 1 || (s[k].token && (s[k].width != 1 || k != CSBRNN_INPUT))) return 0;
        if (k <= CSBRNN_OUTPUT) continue;
        if (s[k].column != column) return 0;
        column += s[k].width;
        if (column > UINT32_MAX) return 0;
    }
    return 1;
}

csbrnn_error csbrnn_image_check(const void *image, size_t nbytes) {
    static const uint8_t magic[8] = {'c', 's', 'b', 'r', 'n', 'n', '\r', '\n'};
    const unsigned char *bytes = (const unsigned char *)image;
    const csbrnn_header *h = csbrnn_header_of(bytes);
    checked c = {bytes, nbytes, h, 2 * (uint64_t)nbytes};
    if (!image || nbytes < sizeof *h || (uintptr_t)image % CSBRNN_LINE) return CSBRNN_BAD_IMAGE;
    if (memcmp(h->magic, magic, sizeof magic) || h->version != CSBRNN_VERSION ||
        h->header_nbytes != sizeof *h || h->nbytes != nbytes)
        return CSBRNN_BAD_IMAGE;
    if ((uint64_t)h->memory_floats * sizeof(float) > SIZE_MAX / 2) return CSBRNN_BAD_IMAGE;
    if (h->parts == 0 || h->parts > 256 || h->causal > 1 || h->memory_floats >= CSBRNN_CONSTANT ||
        h->state_floats > h->memory_floats || h->constants.count >= CSBRNN_CONSTANT)
        return CSBRNN_BAD_IMAGE;
    if (!inside(&c, h->streams.offset, h->streams.count, sizeof(csbrnn_stream)) ||
        !inside(&c, h->passes.offset, h->passes.count, sizeof(csbrnn_pass)) ||
        !inside(&c, h->moves.offset, h->moves.count, sizeof(csbrnn_move)) ||
        !inside(&c, h->instructions.offset, h->instructions.count, sizeof(csbrnn_instruction)) ||
        !inside(&c, h->spans.offset, h->spans.count, sizeof(csbrnn_span)) ||
        !inside(&c, h->sections.offset, h->sections.count, sizeof(csbrnn_section)) ||
        !inside(&c, h->operations.offset, h->operations.count, sizeof(csbrnn_operation)) ||
        !inside(&c, h->constants.offset, h->constants.count, sizeof(float)))
        return CSBRNN_BAD_IMAGE;
    if (!check_streams(&c)) return CSBRNN_BAD_IMAGE;
    const csbrnn_pass *pass = CSBRNN_TABLE(csbrnn_pass, c.bytes, passes);
    if (h->causal && (h->passes.count != 1 || pass->reverse)) return CSBRNN_BAD_IMAGE;
    for (uint32_t p = 0; p < h->passes.count; p++)
        if (!check_pass(&c, pass + p)) return CSBRNN_BAD_IMAGE;
    return CSBRNN_OK;
}
