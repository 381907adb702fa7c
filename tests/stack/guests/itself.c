// Maps its own file and reads every byte of it, its running code among them: both mappings are needed at once.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(int count, char **arguments) {
    int file = open(arguments[0], O_RDONLY);
    struct stat status;
    if (count != 1 || file < 0 || fstat(file, &status))
        return 1;
    const unsigned char *bytes = mmap(0, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED)
        return 2;
    unsigned long sum = 0;
    for (long i = 0; i < status.st_size; i++)
        sum = sum * 31 + bytes[i];
    printf("%ld bytes, %lx\n", (long)status.st_size, sum);
    return 0;
}
