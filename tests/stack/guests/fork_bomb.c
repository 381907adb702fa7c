/* Forks until it fails, ends them all, and says how it went. Not for a machine that matters. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    int forks = 0, reaped = 0;
    for (;;) {
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        if (child < 0)
            break;
        forks++;
    }
    printf("%s\n", strerror(errno));
    kill(-1, SIGKILL);
    while (wait(NULL) > 0)
        reaped++;
    printf("%s\n", forks > 50 && reaped == forks ? "all ended" : "some are missing");
    return 0;
}
