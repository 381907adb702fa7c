// Runs copies of itself with bytes of the headers changed, or the end cut off: each run ends somehow, and the caller goes on.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long state = 88172645463325252UL;

static unsigned long number(unsigned long limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

int main(int count, char **arguments) {
    if (count == 1) return 0;
    int rounds = atoi(arguments[1]), refused = 0, killed = 0, ended = 0;
    int own = open("/proc/self/exe", O_RDONLY);
    struct stat status;
    fstat(own, &status);
    char *image = malloc(status.st_size);
    if (read(own, image, status.st_size) != status.st_size) return 1;
    for (int round = 0; round < rounds; round++) {
        char saved[512];
        for (int n = 0; n < 512; n++) saved[n] = image[n];
        for (unsigned long n = number(6); n > 0; n--) image[number(512)] = number(256);
        int copy = open("/tmp/copy", O_WRONLY | O_CREAT | O_TRUNC, 0755);
        long length = round % 4 ? status.st_size : number(status.st_size);
        if (write(copy, image, length) != length) return 1;
        close(copy);
        for (int n = 0; n < 512; n++) image[n] = saved[n];
        pid_t child = fork();
        if (child == 0) {
            alarm(1); // it stays set in the new program, which may do anything
            execl("/tmp/copy", "/tmp/copy", (char *)0);
            _exit(99);
        }
        int how;
        waitpid(child, &how, 0);
        if (WIFSIGNALED(how)) killed++;
        else if (WEXITSTATUS(how) == 99) refused++;
        else ended++;
    }
    unlink("/tmp/copy");
    fprintf(stderr, "%d refused, %d killed, %d ended\n", refused, killed, ended);
    printf("%d runs, all %s\n", rounds, refused + killed + ended == rounds ? "over" : "not over");
    return 0;
}
