/* A child takes all memory there is; its parent goes on with its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };

int main(void) {
    pid_t greedy = fork();
    if (greedy == 0)
        for (;;) {
            char *more = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            memset(more, 1, SIZE);
        }
    char *own = malloc(SIZE);
    int status = 0, wrong = 0;
    for (int round = 0; waitpid(greedy, &status, WNOHANG) == 0; round++) {
        memset(own, round, SIZE);
        usleep(1000);
        for (int at = 0; at < SIZE; at += 4096)
            wrong += own[at] != (char)round;
    }
    printf("signal %d, %d wrong\n", status & 127, wrong);
    return 0;
}
