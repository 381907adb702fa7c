// Two processes write and read the same number of pages several times; one of them may have a quarter of them in RAM.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 256
#define LIMIT 64

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static int resident(char *pages) {
    unsigned char there[PAGES];
    mincore(pages, PAGES * PAGE, there);
    int count = 0;
    for (int n = 0; n < PAGES; n++)
        count += there[n] & 1;
    return count;
}

// Returns how many values were wrong.
static int work(char *pages) {
    int wrong = 0;
    for (int round = 0; round < 3; round++)
        for (int n = 0; n < PAGES; n++) {
            wrong += round && pages[n * PAGE] != (char)(n + round - 1);
            pages[n * PAGE] = n + round;
        }
    return wrong;
}

static void child(int limited) {
    if (limited) {
        struct rlimit limit = {LIMIT * PAGE, RLIM_INFINITY};
        setrlimit(RLIMIT_RSS, &limit);
    }
    char *pages = mmap(0, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long before = faults();
    int wrong = work(pages);
    long taken = faults() - before;
    if (limited)
        printf("limited: %d wrong, %d pages within %d: %d, faults over 500: %d\n", wrong, PAGES, LIMIT, resident(pages) <= LIMIT, taken > 500);
    else
        printf("neighbour: %d wrong, faults under 300: %d\n", wrong, taken < 300);
}

int main(void) {
    for (int limited = 1; limited >= 0; limited--) {
        if (!fork()) {
            child(limited);
            fflush(stdout);
            _exit(0);
        }
        wait(0);
    }
    struct rlimit limit = {64 << 20, RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &limit);
    void *large = mmap(0, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("address space: %s\n", large == MAP_FAILED ? strerror(errno) : "mapped");
    return 0;
}
