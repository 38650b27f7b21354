/* Keeps several processors busy with each other and checks what they do: atomics, memory order, code written by one and run by another, page
 * permissions and mappings that change under running threads, futexes, signals, processes, files.
 *
 * parallel SECONDS [THREADS]. Any difference is told on standard error and ends the program with status 1; else the last line counts the rounds.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64 };

static int threads = 4;

static void fail(const char *what, uint64_t want, uint64_t have) {
  fprintf(stderr, "parallel: %s: %llx, not %llx\n", what, (unsigned long long)have, (unsigned long long)want);
  exit(1);
}

static uint64_t next(uint64_t *x) {
  *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
  return *x;
}

/* Runs work(0) to work(threads - 1) at the same time. */
static void together(void *(*work)(void *)) {
  pthread_t all[MOST];
  for (intptr_t i = 0; i < threads; i++)
    if (pthread_create(&all[i], 0, work, (void *)i)) fail("thread", 0, errno);
  for (int i = 0; i < threads; i++) pthread_join(all[i], 0);
}

/* --- Sums by every kind of atomic operation; one straddles two cache lines. */
static struct {
  _Alignas(64) _Atomic uint64_t added, exchanged, incremented;
  _Alignas(64) char bytes[128];
  _Alignas(16) unsigned __int128 pair;
} sums;

static void add_pair(uint64_t n) {
  uint64_t low = (uint64_t)sums.pair, high = (uint64_t)(sums.pair >> 64);
  unsigned char done;
  do {
    uint64_t new_low = low + n, new_high = high + 3 * n;
    __asm__ volatile("lock cmpxchg16b %1; sete %0" : "=q"(done), "+m"(sums.pair), "+a"(low), "+d"(high) : "b"(new_low), "c"(new_high) : "cc");
  } while (!done);
}

static void *add_up(void *self) {
  (void)self;
  for (int i = 0; i < 20000; i++) {
    atomic_fetch_add(&sums.added, 3);
    uint64_t seen = atomic_load(&sums.exchanged);
    while (!atomic_compare_exchange_weak(&sums.exchanged, &seen, seen + 5)) {}
    __asm__ volatile("lock incq %0" : "+m"(sums.incremented)::"cc");
    add_pair(1);
    if (i % 64 == 0) __asm__ volatile("lock addl $7, %0" : "+m"(*(uint32_t *)(sums.bytes + 62))::"cc");
  }
  return 0;
}

static void check_atomics(void) {
  memset(&sums, 0, sizeof sums);
  together(add_up);
  uint64_t n = 20000ull * threads;
  uint32_t across;
  memcpy(&across, sums.bytes + 62, 4);
  if (sums.added != 3 * n) fail("XADD", 3 * n, sums.added);
  if (sums.exchanged != 5 * n) fail("CMPXCHG", 5 * n, sums.exchanged);
  if (sums.incremented != n) fail("INC", n, sums.incremented);
  if ((uint64_t)sums.pair != n) fail("CMPXCHG16B, low", n, (uint64_t)sums.pair);
  if ((uint64_t)(sums.pair >> 64) != 3 * n) fail("CMPXCHG16B, high", 3 * n, (uint64_t)(sums.pair >> 64));
  if (across != 7 * ((20000 + 63) / 64) * (uint32_t)threads) fail("across lines", 7 * ((20000 + 63) / 64) * threads, across);
}

/* --- Order of stores and loads (SDM Vol. 3, 8.2.3): a message arrives whole, and with fences two stores are not both missed. */
static struct {
  _Alignas(64) volatile uint64_t data;
  _Alignas(64) volatile uint64_t flag;
  _Alignas(64) volatile int x;
  _Alignas(64) volatile int y;
  _Alignas(64) volatile int seen_x, seen_y;
} order;
static pthread_barrier_t both;

static void *order_of(void *self) {
  intptr_t me = (intptr_t)self;
  if (me > 1) return 0;
  for (uint64_t i = 1; i <= 20000; i++) {
    if (me == 0) {
      order.data = i * 77;
      order.flag = i;
    } else {
      uint64_t flag = order.flag, data = order.data;
      if (data < flag * 77) fail("message", flag * 77, data);
    }
  }
  for (int i = 0; i < 300; i++) {
    if (me == 0) order.x = order.y = 0;
    pthread_barrier_wait(&both);
    if (me == 0) {
      order.x = 1;
      __asm__ volatile("mfence" ::: "memory");
      order.seen_y = order.y;
    } else {
      order.y = 1;
      __asm__ volatile("mfence" ::: "memory");
      order.seen_x = order.x;
    }
    pthread_barrier_wait(&both);
    if (me == 0 && !order.seen_x && !order.seen_y) fail("MFENCE", 1, 0);
  }
  return 0;
}

static void check_order(void) {
  if (threads < 2) return;
  memset(&order, 0, sizeof order);
  pthread_barrier_init(&both, 0, 2);
  together(order_of);
  pthread_barrier_destroy(&both);
}

/* --- Code that one thread writes and the others run, after the serializing instruction that the architecture asks for (SDM Vol. 3, 8.1.3). */
static unsigned char *code;
static _Atomic uint32_t version, runners_done;

static void *write_and_run(void *self) {
  intptr_t me = (intptr_t)self;
  for (uint32_t v = 1; v <= 300; v++) {
    if (me == 0) {
      while (atomic_load(&runners_done) != (v - 1) * (uint32_t)(threads - 1)) sched_yield();
      unsigned char *function = code + (v & 1 ? 0 : 64);
      function[0] = 0xB8; /* mov eax, v */
      memcpy(function + 1, &v, 4);
      function[5] = 0xC3;
      atomic_store(&version, v);
    } else {
      while (atomic_load(&version) < v) sched_yield();
      unsigned a, b, c, d;
      __cpuid(0, a, b, c, d);
      for (int i = 0; i < 40; i++) {
        uint32_t have = ((uint32_t(*)(void))(code + (v & 1 ? 0 : 64)))();
        if (have != v) fail("code of another", v, have);
      }
      atomic_fetch_add(&runners_done, 1);
    }
  }
  return 0;
}

static void check_code(void) {
  if (threads < 2) return;
  code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  version = runners_done = 0;
  together(write_and_run);
  munmap(code, 4096);
}

/* --- A page whose protection changes while others write: once mprotect has returned, nothing more arrives. */
static volatile uint64_t *guarded;
static _Atomic int guard_over;
static _Thread_local sigjmp_buf refused;

static void on_fault(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  if ((uintptr_t)info->si_addr >> 12 != (uintptr_t)guarded >> 12) {
    static const char text[] = "parallel: fault at a wrong address\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(1);
  }
  siglongjmp(refused, 1);
}

static void *guard(void *self) {
  intptr_t me = (intptr_t)self;
  if (me == 0) {
    for (int i = 0; i < 60; i++) {
      mprotect((void *)guarded, 4096, PROT_READ);
      uint64_t before[MOST];
      for (int t = 1; t < threads; t++) before[t] = guarded[t];
      for (int again = 0; again < 50; again++)
        for (int t = 1; t < threads; t++)
          if (guarded[t] != before[t]) fail("store to a read-only page", before[t], guarded[t]);
      mprotect((void *)guarded, 4096, PROT_READ | PROT_WRITE);
      sched_yield();
    }
    atomic_store(&guard_over, 1);
    return 0;
  }
  while (!atomic_load(&guard_over)) {
    if (sigsetjmp(refused, 1)) {
      sched_yield();
      continue;
    }
    for (int i = 0; i < 100; i++) guarded[me]++;
  }
  return 0;
}

static void check_protection(void) {
  guarded = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  guard_over = 0;
  together(guard);
  munmap((void *)guarded, 4096);
}

/* --- Mappings that come and go in all threads. */
static void *map_and_touch(void *self) {
  uint64_t x = 1 + (intptr_t)self;
  for (int i = 0; i < 30; i++) {
    size_t pages = 1 + next(&x) % 64;
    uint64_t *p = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) fail("mmap", 0, errno);
    for (size_t n = 0; n < pages; n++) {
      if (p[n * 512]) fail("fresh page", 0, p[n * 512]);
      p[n * 512] = x + n;
    }
    for (size_t n = 0; n < pages; n++)
      if (p[n * 512] != x + n) fail("page", x + n, p[n * 512]);
    munmap(p, pages * 4096);
  }
  return 0;
}

/* --- Turns by mutex and condition. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static int turn;

static void *take_turns(void *self) {
  intptr_t me = (intptr_t)self;
  for (int i = 0; i < 100; i++) {
    pthread_mutex_lock(&mutex);
    while (turn % threads != me) pthread_cond_wait(&turned, &mutex);
    turn++;
    pthread_cond_broadcast(&turned);
    pthread_mutex_unlock(&mutex);
  }
  return 0;
}

/* --- Signals to each thread, each answered. */
static _Atomic int signals;

static void on_user(int number) {
  (void)number;
  atomic_fetch_add(&signals, 1);
}

static void *signal_self(void *self) {
  (void)self;
  for (int i = 0; i < 100; i++) pthread_kill(pthread_self(), SIGUSR1);
  return 0;
}

/* --- Processes and files: each thread's children write a file that the thread reads. */
static void *fork_and_read(void *self) {
  char name[64];
  snprintf(name, sizeof name, "/tmp/parallel-%d-%d", (int)getpid(), (int)(intptr_t)self);
  uint64_t block[512], x = 99 + (intptr_t)self;
  for (int i = 0; i < 4; i++) {
    uint64_t seed = next(&x);
    pid_t child = fork();
    if (child == 0) {
      int file = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
      uint64_t y = seed;
      for (int n = 0; n < 16; n++) {
        for (int k = 0; k < 512; k++) block[k] = next(&y);
        if (write(file, block, sizeof block) != sizeof block) _exit(1);
      }
      _exit(close(file) == 0 ? 42 : 1);
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 42) fail("child", 42, status);
    int file = open(name, O_RDONLY);
    uint64_t y = seed;
    for (int n = 0; n < 16; n++) {
      if (read(file, block, sizeof block) != sizeof block) fail("read", sizeof block, errno);
      for (int k = 0; k < 512; k++) {
        uint64_t want = next(&y);
        if (block[k] != want) fail("file", want, block[k]);
      }
    }
    close(file);
    unlink(name);
  }
  return 0;
}

/* --- Clocks of all processors are in step: time read after a handover is not before the giver's. */
static _Atomic uint64_t latest;

static void *read_clock(void *self) {
  (void)self;
  for (int i = 0; i < 5000; i++) {
    uint64_t before = atomic_load(&latest);
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t now = t.tv_sec * 1000000000ull + t.tv_nsec;
    if (now < before) fail("clock", before, now);
    while (now > before && !atomic_compare_exchange_weak(&latest, &before, now)) {}
  }
  return 0;
}

int main(int count, char **arguments) {
  double seconds = count > 1 ? atof(arguments[1]) : 5;
  if (count > 2) threads = atoi(arguments[2]);
  if (threads < 1 || threads > MOST) fail("threads, 1 to 64", MOST, threads);
  struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER }, user = { .sa_handler = on_user, .sa_flags = SA_RESTART };
  sigaction(SIGSEGV, &fault, 0);
  sigaction(SIGUSR1, &user, 0);
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  unsigned rounds = 0;
  do {
    check_atomics();
    check_order();
    check_code();
    check_protection();
    together(map_and_touch);
    turn = 0;
    together(take_turns);
    if (turn != 100 * threads) fail("turns", 100 * threads, turn);
    signals = 0;
    together(signal_self);
    if (signals != 100 * threads) fail("signals", 100 * threads, signals);
    together(fork_and_read);
    together(read_clock);
    rounds++;
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while (now.tv_sec - start.tv_sec + (now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
  printf("ok %u rounds %d threads\n", rounds, threads);
  return 0;
}
