/* An example: reads one time step a line from standard input, writes its output as a line. C or C++.
 *
@if tokens
 *     printf '1\n2\n' | ./@name@
@else
 *     yes 0 | head -n @input_size@ | xargs | ./@name@
@end
 */
#include <ctype.h>
@if binary
#include <errno.h>
@end
#include <stdio.h>
#include <stdlib.h>
@if binary
#include <string.h>
@end

#include "@name@.h"

static @name@_state state; /* zeros until @name@_init */
@if binary

/* On a device they lie in flash, and no buffer is needed. Retrained, they may take more of it. */
@NAME@_ALIGNED static unsigned char weights[2 * @NAME@_FLASH_NBYTES];

static size_t read_weights(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 0;
    }
    size_t nbytes = fread(weights, 1, sizeof weights, file);
    if (nbytes == sizeof weights && fgetc(file) != EOF) {
        fprintf(stderr, "%s: larger than the %lu bytes that main.c has room for\n", path,
                (unsigned long)sizeof weights);
        nbytes = 0;
    }
    fclose(file);
    return nbytes;
}
@end

/* Reads a line of numbers, separated by blanks or commas. Returns how many there were, though no
 * more than `most` are stored; -1 for something that is no number, END at the end of the input. */
enum { END = -2, LONGEST = 63 };
static int read_line(@name@_input *numbers, int most) {
    int count = 0, length = 0, c;
    char word[LONGEST + 1];
    for (;;) {
        c = getchar();
        if (c != EOF && c != ',' && !isspace(c)) {
            if (length == LONGEST) return -1;
            word[length++] = (char)c;
            continue;
        }
        if (length) {
            char *end;
            word[length] = 0;
@if tokens
            long long value = strtoll(word, &end, 10);
            if (*end || value < INT32_MIN || value > INT32_MAX) return -1;
            if (count < most) numbers[count] = (int32_t)value;
@else
            float value = strtof(word, &end);
            if (*end) return -1;
            if (count < most) numbers[count] = value;
@end
            count++;
            length = 0;
        }
        if (c == '\n') return count;
        if (c == EOF) return count ? count : END;
    }
}

@if array
int main(void) {
    @name@_error error = @name@_init(&state);
@else
int main(int argc, char **argv) {
    size_t nbytes = read_weights(argc > 1 ? argv[1] : "@name@.bin");
    if (!nbytes) return 1;
    @name@_error error = @name@_init(&state, weights, nbytes);
@end
    if (error) {
        fprintf(stderr, "@name@_init: error %d, see @name@_error in @name@.h\n", (int)error);
        return 1;
    }
    static @name@_input input[@NAME@_INPUT_SIZE];
    static float output[@NAME@_OUTPUT_SIZE];
    for (long line = 1;; line++) {
        int count = read_line(input, @NAME@_INPUT_SIZE);
        if (count == END) return 0;
        if (count == 0) continue;
        if (count != @NAME@_INPUT_SIZE) {
            fprintf(stderr, "line %ld: must be %d numbers, got ", line, @NAME@_INPUT_SIZE);
            if (count < 0) fprintf(stderr, "something else\n");
            else fprintf(stderr, "%d\n", count);
            return 1;
        }
@if tokens
        error = @name@_step(&state, input[0], output);
        if (error) {
            fprintf(stderr, "line %ld: tokens are 0 .. %d\n", line, @NAME@_VOCABULARY - 1);
            return 1;
        }
@else
        error = @name@_step(&state, input, output);
        if (error) return 1;
@end
        for (int k = 0; k < @NAME@_OUTPUT_SIZE; k++)
            printf("%.9g%c", (double)output[k], k + 1 < @NAME@_OUTPUT_SIZE ? ' ' : '\n');
        fflush(stdout);
    }
}
