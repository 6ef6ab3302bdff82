/* Simulates a failing disk: preloaded, it counts a process's system calls on files called *.partial, and fails at one.
 *
 * disk_break(how, when): restart counting from 1, and at call number `when`
 *   'c'  do nothing, only count
 *   'k'  kill the process (SIGKILL) before the call
 *   't'  kill during the call: a write ends at a memory page, as the kernel may leave it
 *   'f'  fail with ENOSPC, this and every later call
 *   'w'  the same, but reserving space still succeeds, so that writes into reserved space fail
 * disk_calls(): number of counted calls.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char mode = 0;
static long due = 0, calls = 0;

void disk_break(int how, long when) { mode = (char)how; due = when; calls = 0; }
long disk_calls(void) { return calls; }

static int partial(const char *path) {
    size_t length = strlen(path);
    return length >= 8 && strcmp(path + length - 8, ".partial") == 0;
}

static int watched(int fd) {
    char link[64], path[4096];
    if (!mode) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return partial(path);
}

/* 0: go on. 1: fail with errno set. 2: part of a write, then die. */
static int strike(int reserving) {
    calls++;
    if (mode == 'c' || calls < due) return 0;
    if (mode == 'k' || (mode == 't' && calls == due)) {
        if (mode == 't') return 2;
        kill(getpid(), SIGKILL);
    }
    if (mode == 'f' || (mode == 'w' && !reserving)) { errno = ENOSPC; return 1; }
    return 0;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static size_t torn(size_t count, off_t offset) {
    return count > 8192 ? 8192 - (size_t)(offset % 4096) : 0;
}

#define POSITIONED(name, offset_type)                                                     \
    ssize_t name(int fd, const void *bytes, size_t count, offset_type offset) {           \
        REAL(name);                                                                       \
        int fate = watched(fd) ? strike(0) : 0;                                           \
        if (fate == 1) return -1;                                                         \
        if (fate == 2) { real(fd, bytes, torn(count, offset), offset); kill(getpid(), SIGKILL); }   \
        return real(fd, bytes, count, offset);                                            \
    }
POSITIONED(pwrite, off_t)
POSITIONED(pwrite64, off64_t)

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    int fate = watched(fd) ? strike(0) : 0;
    if (fate == 1) return -1;
    if (fate == 2) { real(fd, bytes, torn(count, 0)); kill(getpid(), SIGKILL); }
    return real(fd, bytes, count);
}

/* Calls that cannot be done by halves. */
#define WHOLE(name, reserving, watch, parameters, arguments)                              \
    int name parameters {                                                                 \
        REAL(name);                                                                       \
        int fate = (watch) ? strike(reserving) : 0;                                       \
        if (fate == 2) kill(getpid(), SIGKILL);                                           \
        if (fate == 1) return reserving ? ENOSPC : -1;                                    \
        return real arguments;                                                            \
    }
int posix_fallocate(int, off_t, off_t);
int posix_fallocate64(int, off64_t, off64_t);
WHOLE(posix_fallocate, 1, watched(fd), (int fd, off_t from, off_t count), (fd, from, count))
WHOLE(posix_fallocate64, 1, watched(fd), (int fd, off64_t from, off64_t count), (fd, from, count))
WHOLE(fsync, 0, watched(fd), (int fd), (fd))
WHOLE(link, 0, mode && partial(from), (const char *from, const char *to), (from, to))
WHOLE(rename, 0, mode && partial(from), (const char *from, const char *to), (from, to))
/* Giving space back and removing names work on a full disk. */
#define FREEING (mode == 'f' || mode == 'w' ? 0 : 1)
WHOLE(ftruncate, 0, FREEING && watched(fd), (int fd, off_t size), (fd, size))
WHOLE(ftruncate64, 0, FREEING && watched(fd), (int fd, off64_t size), (fd, size))
WHOLE(unlink, 0, FREEING && mode && partial(path), (const char *path), (path))
