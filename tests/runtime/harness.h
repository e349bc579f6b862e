/* What the C test programs share: files, and the memory of one stream. */
#ifndef HARNESS_H
#define HARNESS_H

#define _GNU_SOURCE /* posix_memalign, also under -std=c11 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csbrnn.h"
#include "csbrnn_pool.h"

static inline void *line_alloc(size_t nbytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, nbytes + 64)) exit(99);
    memset(p, 0, nbytes + 64);
    return p;
}

static inline unsigned char *read_file(const char *path, size_t *nbytes) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(98);
    *nbytes = (size_t)ftell(file);
    rewind(file);
    /* Exactly as large as the file, so that a sanitizer sees the first byte read too many. */
    void *data = NULL;
    if (posix_memalign(&data, 64, *nbytes)) exit(99);
    if (fread(data, 1, *nbytes, file) != *nbytes) exit(97);
    fclose(file);
    return data;
}

#endif
