// Several processes that each use all of their pages again and again; together they need more than there is. A round takes longer than a
// turn on the CPU, so that a page is gone when its process comes back to it.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static int work(int number, int pages, int rounds) {
    unsigned *memory = mmap(0, (long)pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int wrong = 0;
    for (int round = 0; round < rounds; round++)
        for (int n = 0; n < pages; n++) {
            unsigned *word = memory + (long)n * PAGE / sizeof *memory;
            wrong += round && *word != (unsigned)(number * 1000000 + n + round - 1);
            *word = number * 1000000 + n + round;
            for (volatile int spin = 0; spin < 20000; spin++)
                ;
        }
    return wrong;
}

int main(int count, char **words) {
    int processes = atoi(words[1]), pages = atoi(words[2]), rounds = atoi(words[3]);
    for (int number = 1; number <= processes; number++)
        if (!fork())
            _exit(work(number, pages, rounds) != 0);
    int status, wrong = 0;
    while (wait(&status) > 0)
        wrong += status != 0;
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("%d wrong\n", wrong);
    fprintf(stderr, "%ld major faults\n", usage.ru_majflt);
    return 0;
}
