/* Laid over a program by the loader: a disk that is slow, or at which the program dies. See disk.rs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Shared with the test through the file that RINGFENCE_TEST_DISK names. */
struct control {
    unsigned acts;     /* acts counted so far */
    unsigned die_at;   /* the process dies before its act of this number; 0: never */
    unsigned delay_ms; /* each act takes so much longer */
};

static volatile struct control *control;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("RINGFENCE_TEST_DISK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *at = mmap(0, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at != MAP_FAILED)
        control = at;
}

static void step(void)
{
    if (!control)
        return;
    unsigned act = __atomic_add_fetch(&control->acts, 1, __ATOMIC_SEQ_CST);
    if (control->die_at && act >= control->die_at) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    if (control->delay_ms)
        usleep(control->delay_ms * 1000);
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

int fsync(int file)
{
    step();
    return REAL(int (*)(int), "fsync")(file);
}

int fdatasync(int file)
{
    step();
    return REAL(int (*)(int), "fdatasync")(file);
}

int rename(const char *from, const char *to)
{
    step();
    return REAL(int (*)(const char *, const char *), "rename")(from, to);
}

int unlink(const char *path)
{
    step();
    return REAL(int (*)(const char *), "unlink")(path);
}
