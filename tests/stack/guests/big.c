/* Uses SIZE MiB of heap in several ways and prints a checksum: big SIZE. */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 16 };

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    size_t blocks = strtoul(argv[1], NULL, 10) * 1024 * 1024 / BLOCK;
    uint64_t **block = calloc(blocks, sizeof *block);
    if (block == NULL)
        return 1;
    for (size_t b = 0; b < blocks; b++) {
        block[b] = malloc(BLOCK);
        if (block[b] == NULL) {
            printf("malloc: %s\n", strerror(errno));
            return 1;
        }
        for (size_t i = 0; i < BLOCK / 8; i++)
            block[b][i] = mix(b * BLOCK + i);
    }
    uint64_t sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        for (size_t i = 0; i < BLOCK / 8; i++) {
            if (block[b][i] != mix(b * BLOCK + i)) {
                printf("block %zu, word %zu: wrong\n", b, i);
                return 1;
            }
            sum = mix(sum ^ block[b][i]);
        }
        free(block[b]);
    }
    printf("%zu blocks, %.2f MiB, sum %016llx\n", blocks, (double)blocks * BLOCK / 1048576, (unsigned long long)sum);
    return 0;
}
