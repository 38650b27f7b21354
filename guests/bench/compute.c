/* Arithmetic, calls and branches in the caches. */
#include "bench.h"

uint64_t crc(long count) {
  static uint8_t data[1 << 16];
  for (size_t i = 0; i < sizeof data; i++) data[i] = i * 31 + (i >> 8);
  uint32_t sum = ~0u;
  start_clock();
  while (count--)
    for (size_t i = 0; i < sizeof data; i++) {
      sum ^= data[i];
      for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (-(sum & 1) & 0xEDB88320u);
    }
  return sum;
}

/* noipa: the compiler would otherwise unfold the calls that are measured. */
static __attribute__((noipa)) uint64_t fibonacci(int n) { return n < 2 ? (uint64_t)n : fibonacci(n - 1) + fibonacci(n - 2); }

uint64_t fib(long count) {
  uint64_t sum = 0;
  while (count--) sum = mix(sum, fibonacci(27));
  return sum;
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

uint64_t sort(long count) {
  enum { ITEMS = 1 << 16 };
  static uint32_t items[ITEMS];
  uint32_t x = 12345;
  uint64_t sum = 0;
  while (count--) {
    for (int i = 0; i < ITEMS; i++) items[i] = (x = x * 1664525 + 1013904223) >> 8;
    qsort(items, ITEMS, sizeof *items, ascending);
    for (int i = 0; i < ITEMS; i += 97) sum = mix(sum, items[i]);
  }
  return sum;
}

uint64_t matrix(long count) {
  enum { N = 128 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      a[i][j] = (i * 7 + j) % 13 - 6;
      b[i][j] = (i + j * 5) % 11 - 5;
    }
  start_clock();
  for (long round = 0; round < count; round++) {
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        double sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
    a[round % N][round % 7] += c[round % 5][round % N] * 0.25;
  }
  double total = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) total += c[i][j] * (i + 1) + j;
  return (uint64_t)(int64_t)total;
}
