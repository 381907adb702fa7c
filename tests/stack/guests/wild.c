// Gives system calls pointers that lead nowhere. First those that must answer EFAULT, then every number with the same wild value in
// all six arguments. Only for a guest: natively some of it would do harm.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096L
#define WILD (-1001L) // stands for the wild pointer

static long wild[10];

static const struct { const char *name; long number, arguments[6]; } faulting[] = {
    {"write", SYS_write, {9, WILD, 1}}, {"open", SYS_open, {WILD, 0}}, {"stat", SYS_stat, {WILD, WILD}},
    {"fstat", SYS_fstat, {9, WILD}}, {"poll", SYS_poll, {WILD, 1, 0}}, {"writev", SYS_writev, {9, WILD, 1}},
    {"pread64", SYS_pread64, {8, WILD, 1, 0}}, {"readv", SYS_readv, {8, WILD, 1}}, {"access", SYS_access, {WILD, 0}},
    {"pipe", SYS_pipe, {WILD}}, {"pipe2", SYS_pipe2, {WILD, 0}}, {"mincore", SYS_mincore, {0, PAGE, WILD}},
    {"nanosleep", SYS_nanosleep, {WILD, 0}}, {"getitimer", SYS_getitimer, {0, WILD}},
    {"setitimer", SYS_setitimer, {0, WILD, 0}}, {"uname", SYS_uname, {WILD}}, {"execve", SYS_execve, {WILD, 0, 0}},
    {"getcwd", SYS_getcwd, {WILD, 100}}, {"chdir", SYS_chdir, {WILD}}, {"rename", SYS_rename, {WILD, WILD}},
    {"mkdir", SYS_mkdir, {WILD, 0}}, {"rmdir", SYS_rmdir, {WILD}}, {"link", SYS_link, {WILD, WILD}},
    {"unlink", SYS_unlink, {WILD}}, {"readlink", SYS_readlink, {WILD, WILD, 10}}, {"truncate", SYS_truncate, {WILD, 0}},
    {"gettimeofday", SYS_gettimeofday, {WILD, 0}}, {"getrlimit", SYS_getrlimit, {3, WILD}},
    {"getrusage", SYS_getrusage, {0, WILD}}, {"sysinfo", SYS_sysinfo, {WILD}}, {"times", SYS_times, {WILD}},
    {"rt_sigaction", SYS_rt_sigaction, {SIGUSR1, WILD, 0, 8}}, {"rt_sigaction", SYS_rt_sigaction, {SIGUSR1, 0, WILD, 8}},
    {"rt_sigprocmask", SYS_rt_sigprocmask, {0, WILD, 0, 8}}, {"rt_sigpending", SYS_rt_sigpending, {WILD, 8}},
    {"rt_sigtimedwait", SYS_rt_sigtimedwait, {WILD, 0, 0, 8}}, {"sigaltstack", SYS_sigaltstack, {WILD, 0}},
    {"sigaltstack", SYS_sigaltstack, {0, WILD}}, {"clock_gettime", SYS_clock_gettime, {0, WILD}},
    {"clock_nanosleep", SYS_clock_nanosleep, {0, 0, WILD, 0}}, {"futex", SYS_futex, {WILD, 0, 0, 0}},
    {"sched_getaffinity", SYS_sched_getaffinity, {0, 8, WILD}}, {"openat", SYS_openat, {AT_FDCWD, WILD, 0}},
    {"newfstatat", SYS_newfstatat, {AT_FDCWD, WILD, WILD, 0}}, {"faccessat", SYS_faccessat, {AT_FDCWD, WILD, 0}},
    {"unlinkat", SYS_unlinkat, {AT_FDCWD, WILD, 0}}, {"ppoll", SYS_ppoll, {WILD, 1, 0, 0, 0}},
    {"prlimit64", SYS_prlimit64, {0, 3, 0, WILD}}, {"getrandom", SYS_getrandom, {WILD, 8, 0}},
    {"statx", SYS_statx, {AT_FDCWD, WILD, 0, 0, WILD}}, {"getdents64", SYS_getdents64, {7, WILD, 1000}},
    {"epoll_ctl", SYS_epoll_ctl, {6, 1, 5, WILD}}, {"clone3", SYS_clone3, {WILD, 88}},
    {"select", SYS_select, {1, WILD, 0, 0, 0}}, {"pselect6", SYS_pselect6, {1, 0, WILD, 0, 0}},
    {"setrlimit", SYS_setrlimit, {9, WILD}}, {"statfs", SYS_statfs, {WILD, WILD}}, {"wait4", SYS_wait4, {-1, WILD, 0, 0}},
};

// Calls that end, stop or signal the caller or others, wait for ever, or go on elsewhere.
static int left_out(long number) {
    static const long numbers[] = {SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_pause, SYS_rt_sigsuspend, SYS_fork,
                                   SYS_vfork, SYS_clone, SYS_kill, SYS_tkill, SYS_tgkill, SYS_ppoll, SYS_alarm,
                                   SYS_select, SYS_pselect6};
    for (unsigned n = 0; n < sizeof numbers / sizeof *numbers; n++)
        if (numbers[n] == number) return 1;
    return 0;
}

static int must_fault(void) {
    int wrong = 0;
    for (unsigned n = 0; n < sizeof faulting / sizeof *faulting; n++)
        for (unsigned w = 1; w < sizeof wild / sizeof *wild; w++) {
            long a[6];
            for (int i = 0; i < 6; i++) a[i] = faulting[n].arguments[i] == WILD ? wild[w] : faulting[n].arguments[i];
            if (faulting[n].number == SYS_mincore) a[0] = (long)wild & ~(PAGE - 1);
            if (faulting[n].number == SYS_wait4 && fork() == 0) _exit(0);
            errno = 0;
            long result = syscall(faulting[n].number, a[0], a[1], a[2], a[3], a[4], a[5]);
            if (result == -1 && errno == EFAULT) continue;
            if (faulting[n].number == SYS_futex && wild[w] % 4 && errno == EINVAL) continue;
            printf("%s with %lx: %ld, %s\n", faulting[n].name, wild[w], result, strerror(errno));
            wrong++;
        }
    return wrong;
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    char *none = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long *progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long values[] = {0, 1, (long)none, (long)none + PAGE - 1, 0x7ffffffff000, 0x800000000000,
                     (long)0xffff800000100000, (long)0xffffffff80100000, (long)0xfffffffffffff000, -8};
    for (int n = 0; n < 10; n++) wild[n] = values[n];
    wild[1] = 1;
    int ends[2];
    if (pipe(ends) || dup2(ends[0], 5) < 0 || dup2(open("/proc/self/maps", O_RDONLY), 8) < 0 || dup2(1, 9) < 0 ||
        dup2(open("/", O_RDONLY | O_DIRECTORY), 7) < 0 || dup2(syscall(SYS_epoll_create1, 0), 6) < 0)
        return 1;
    printf("%d calls did not answer EFAULT\n", must_fault());

    // A child makes the calls. Where one ends it, the next child goes on after that call.
    int deaths = 0;
    for (*progress = 0; *progress < 460;) {
        pid_t child = fork();
        if (child == 0) {
            close(0);
            for (; *progress < 460; ++*progress)
                for (int w = 0; w < 10 && !left_out(*progress); w++)
                    syscall(*progress, wild[w], wild[w], wild[w], wild[w], wild[w], wild[w]);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        deaths += WIFSIGNALED(status);
        ++*progress;
    }
    fprintf(stderr, "%d calls ended their process\n", deaths);
    printf("the kernel goes on\n");
    return 0;
}
