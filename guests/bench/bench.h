/* Workloads of ./dev bench cpu: each prints its time and a checksum, so that engines can be compared in both. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns a checksum that depends on the count alone. Calls start_clock() when what it measures begins. */
typedef uint64_t workload(long count);

void start_clock(void);
uint64_t mix(uint64_t sum, uint64_t value);
void check(int good, const char *what);

/* compute.c */
workload crc, fib, sort, matrix;
/* memory.c */
workload chase, copy;
/* kernel.c */
workload system_calls, page_faults, forks, execs, ping_pong, switches;
extern const char *self;
/* main.c */
void report(const char *name, uint64_t sum);
/* timed.c: the time of another program, and a checksum of what it prints. */
int timed(int argc, char **argv);
int together(int argc, char **argv);
