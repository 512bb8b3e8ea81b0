/* Children for benches/inits.py, without a C library: what they cost is the kernel's own price.
 * MODE is exit, sleep, orphans, echo, lines, json, blocks, clock, json-blocks, flood, flood-lines
 * or read. Linux on x86_64 and aarch64. */
#include <asm/unistd.h>
#include <stdint.h>

#define EXIT 1
#define SLEEP 2
#define ORPHANS 3
#define ECHO 4
#define LINES 5
#define JSON 6
#define BLOCKS 7
#define CLOCK 8
#define JSON_BLOCKS 9
#define FLOOD 10
#define FLOOD_LINES 11
#define READ 12

static long call(long number, long a, long b, long c, long d, long e) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return number;
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#endif
}

static void quit(void) { call(__NR_exit_group, 0, 0, 0, 0, 0); }
static void nap(void) { for (;;) call(__NR_ppoll, 0, 0, 0, 0, 0); }
static long forked(void) { return call(__NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0); }
static void put(int fd, const char *text, long size) {
    while (size > 0) {
        long done = call(__NR_write, fd, (long)text, size, 0, 0);
        if (done <= 0) quit();
        text += done;
        size -= done;
    }
}

static char block[120 * 540];

/* Fills the block with lines of 120 bytes. */
static long fill(void) {
    static const char text[] = "2026/11/24 01:02:03 server.go:118: request served in 13 ms from cache ";
    static const char object[] = "{\"level\":\"info\",\"ts\":1790211723.118,\"msg\":\"request served from cache\",\"ms\":13,\"pad\":\"";
    const int json = MODE == JSON || MODE == JSON_BLOCKS;
    const char *head = json ? object : text;
    long head_size = json ? sizeof object - 1 : sizeof text - 1;
    for (long line = 0; line < 540; line++)
        for (long at = 0; at < 120; at++) {
            char c = at < head_size ? head[at] : (char)('a' + (at + line) % 26);
            if (at == 119) c = '\n';
            if (json && at == 118) c = '}';
            if (json && at == 117) c = '"';
            block[line * 120 + at] = c;
        }
    return sizeof block;
}

static void orphans(void) {
    int pipe[2];
    char go;
    call(__NR_pipe2, (long)pipe, 0, 0, 0, 0);
    long middle = forked();
    if (middle == 0) {
        for (int i = 0; i < COUNT; i++) {
            long pid = forked();
            if (pid < 0) call(__NR_exit_group, 1, 0, 0, 0, 0);
            if (pid == 0) {
                call(__NR_close, pipe[1], 0, 0, 0, 0);
                call(__NR_read, pipe[0], (long)&go, 1, 0, 0);
                quit();
            }
        }
        quit();
    }
    int status = 1;
    call(__NR_wait4, middle, (long)&status, 0, 0, 0);
    put(1, status == 0 ? "r" : "f", 1);
    call(__NR_read, 0, (long)&go, 1, 0, 0);
    call(__NR_close, pipe[1], 0, 0, 0, 0);
    nap();
}

static void echo(void) {
    uint64_t usr1 = 1u << 9;
    call(__NR_rt_sigprocmask, 0, (long)&usr1, 0, 8, 0);
    put(1, "r", 1);
    for (;;)
        if (call(__NR_rt_sigtimedwait, (long)&usr1, 0, 0, 8, 0) == 10) put(1, "!", 1);
}

/* Answers signals while its child writes to standard error for ever, as fast as it is read. */
static void flood(void) {
    long size = fill(), step = MODE == FLOOD ? size : 120;
    uint64_t usr1 = 1u << 9;
    call(__NR_rt_sigprocmask, 0, (long)&usr1, 0, 8, 0);
    if (forked() == 0) {
        call(__NR_prctl, 1 /* PR_SET_PDEATHSIG */, 9, 0, 0, 0);
        for (;;)
            for (long at = 0; at < size; at += step) put(2, block + at, step);
    }
    echo();
}

/* Says the CPU time of this process and of its parent up to here, ns. */
static void clocks(void) {
    int64_t times[4] = {0};
    long parent = call(__NR_getppid, 0, 0, 0, 0, 0);
    call(__NR_clock_gettime, 2 /* CLOCK_PROCESS_CPUTIME_ID */, (long)&times[0], 0, 0, 0);
    call(__NR_clock_gettime, (~parent << 3) | 2 /* the same of another */, (long)&times[2], 0, 0, 0);
    int64_t sums[2] = {times[0] * 1000000000 + times[1], times[2] * 1000000000 + times[3]};
    put(1, (const char *)sums, sizeof sums);
}

/* Does nothing with standard input but to read it. */
static void take(void) {
    static char buffer[64 << 10];
    while (call(__NR_read, 0, (long)buffer, sizeof buffer, 0, 0) > 0) {}
}

__attribute__((used)) static void run(void) {
    if (MODE == CLOCK) clocks(), nap();
    if (MODE == READ) take(), quit();
    if (MODE == EXIT) quit();
    if (MODE == SLEEP) nap();
    if (MODE == ORPHANS) orphans();
    if (MODE == ECHO) echo();
    if (MODE == FLOOD || MODE == FLOOD_LINES) flood();
    long size = fill();
    for (int round = 0; round < COUNT; round++) {
        if (MODE == BLOCKS || MODE == JSON_BLOCKS) put(2, block, size);
        else for (long at = 0; at < size; at += 120) put(2, block + at, 120);
    }
    clocks();
    quit();
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: and $-16, %rsp\n call run\n");
#else
__asm__(".globl _start\n_start: bl run\n");
#endif
