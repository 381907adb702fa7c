// Huge pages as a program sees them: asked for by madvise and by mmap, cut, inherited, locked.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1L << 20)
#define PAGE 4096

static long minor_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

// A field of the mapping that holds an address, in KiB.
static long smaps(const char *field, void *address) {
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[256];
    unsigned long start, end;
    long value = -1;
    int inside = 0;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = (unsigned long)address >= start && (unsigned long)address < end;
        else if (inside && !strncmp(line, field, strlen(field)))
            sscanf(line + strlen(field), "%ld", &value);
    }
    fclose(file);
    return value;
}

static int wrong(char *start, long from, long to) {
    int count = 0;
    for (long at = from; at < to; at += PAGE)
        count += start[at] != (char)(at / PAGE);
    return count;
}

static char *map(long bytes, int more) {
    return mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more, -1, 0);
}

static void transparent(void) {
    char *start = (char *)(((unsigned long)map(6 * MIB, 0) + 2 * MIB - 1) & ~(2 * MIB - 1));
    madvise(start, 4 * MIB, MADV_HUGEPAGE);
    long before = minor_faults();
    for (long at = 0; at < 4 * MIB; at += PAGE)
        start[at] = at / PAGE;
    printf("4 MiB took at most 8 faults: %d, huge %ld KiB\n", minor_faults() - before <= 8, smaps("AnonHugePages:", start));
    munmap(start + MIB, PAGE);
    printf("after a cut %d wrong, huge %ld KiB\n", wrong(start, 0, MIB) + wrong(start, MIB + PAGE, 4 * MIB), smaps("AnonHugePages:", start + 3 * MIB));
    mprotect(start + 2 * MIB, 2 * MIB, PROT_READ);
    mprotect(start + 2 * MIB, 2 * MIB, PROT_READ | PROT_WRITE);
    int status;
    if (!fork()) {
        start[3 * MIB] = 99;
        _exit(wrong(start, 2 * MIB, 4 * MIB));
    }
    wait(&status);
    printf("a child sees %d other page, its parent %d\n", WEXITSTATUS(status), wrong(start, 2 * MIB, 4 * MIB));
    printf("locked: %d\n", mlock(start + 2 * MIB, 2 * MIB));
}

static void fixed(void) {
    char *start = map(4 * MIB, MAP_HUGETLB);
    if (start == MAP_FAILED) {
        printf("no run of frames: %s\n", strerror(errno));
        return;
    }
    for (long at = 0; at < 4 * MIB; at += PAGE)
        start[at] = at / PAGE;
    printf("MAP_HUGETLB %ld KiB in pages of %ld KiB, aligned: %d\n", smaps("Private_Hugetlb:", start), smaps("KernelPageSize:", start), (long)start % (2 * MIB) == 0);
    int cut = munmap(start + PAGE, PAGE);
    printf("a cut: %d, %s\n", cut, strerror(errno));
    int status;
    if (!fork()) {
        start[5] = 99;
        _exit(wrong(start, 0, 4 * MIB));
    }
    wait(&status);
    printf("a child sees %d other pages, its parent %d\n", WEXITSTATUS(status), wrong(start, 0, 4 * MIB) + (start[5] != 0));
    printf("unmapped: %d\n", munmap(start, 4 * MIB));
    printf("no such size: %d\n", map(4 * MIB, MAP_HUGETLB | 20 << 26) == MAP_FAILED);
}

int main(void) {
    transparent();
    fixed();
    return 0;
}
