/* Memory beyond the caches and beyond what a TLB reaches. */
#include "bench.h"
#include <string.h>
#include <sys/mman.h>

static uint8_t *pages(size_t size) {
  uint8_t *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  check(p != MAP_FAILED, "mmap");
  return p;
}

/* One cycle through all cache lines of 64 MiB, in random order. */
uint64_t chase(long count) {
  enum { SIZE = 64 << 20, LINE = 64, NODES = SIZE / LINE };
  uint8_t *base = pages(SIZE);
  uint32_t *order = (uint32_t *)pages(NODES * sizeof *order);
  uint64_t x = 88172645463325252u;
  for (uint32_t i = 0; i < NODES; i++) order[i] = i;
  for (uint32_t i = NODES - 1; i > 0; i--) { /* Sattolo's shuffle: a single cycle */
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    uint32_t j = x % i, t = order[i];
    order[i] = order[j], order[j] = t;
  }
  for (uint32_t i = 0; i < NODES; i++) {
    uint32_t *node = (uint32_t *)(base + (size_t)i * LINE);
    node[0] = order[i];
    node[1] = i * 2654435761u;
  }
  uint32_t at = 0;
  uint64_t sum = 0;
  start_clock();
  while (count--) {
    uint32_t *node = (uint32_t *)(base + (size_t)at * LINE);
    sum += node[1];
    at = node[0];
  }
  return mix(sum, at);
}

uint64_t copy(long count) {
  enum { SIZE = 8 << 20 };
  uint8_t *a = pages(SIZE + 64), *b = pages(SIZE + 64);
  for (size_t i = 0; i < SIZE; i++) a[i] = i * 7 + (i >> 12);
  memset(b, 1, SIZE);
  start_clock();
  for (long i = 0; i < count; i++) {
    memcpy(b + (i & 31), a, SIZE);
    a[i * 4097 % SIZE] += b[i * 8191 % SIZE];
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < SIZE; i += 509) sum = mix(sum, b[i]);
  return sum;
}
