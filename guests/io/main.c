/* The guest of ./dev bench io, its init: loads the drivers, measures each disk named on the kernel's command line (io.disks=vda,vdb io.seconds=1.5), says
 * "trapline-io DISK WORKLOAD VALUE" for each workload (MB/s, or requests a second), and switches off. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LUMP = 1 << 20, BLOCK = 4096, DEEPEST = 16 };

static char *buffer;
static double seconds = 1.5;
static long disk_size;

static void fail(const char *what) {
  perror(what);
  reboot(RB_POWER_OFF);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void load_modules(void) {
  static const char *const names[] = { "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[64];
    snprintf(path, sizeof path, "/lib/modules/%s.ko", names[i]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0) fail(path);
    close(fd);
  }
}

static int open_disk(const char *disk, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/dev/%s", disk);
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, BLKGETSIZE64, &disk_size) < 0) fail(path);
  return fd;
}

static void report(const char *disk, const char *workload, double value) {
  printf("trapline-io %s %s %.1f\n", disk, workload, value);
  fflush(stdout);
}

/* From the disk's beginning to its end, again and again, a lump at a time. */
static void sequential(const char *disk, const char *workload, int writing, int direct) {
  int fd = open_disk(disk, (writing ? O_WRONLY : O_RDONLY) | (direct ? O_DIRECT : 0));
  /* What is in the page cache would be no disk's speed. */
  if (ioctl(fd, BLKFLSBUF, 0) < 0) fail("BLKFLSBUF");
  double start = now(), end;
  long done = 0, at = 0;
  do {
    if ((writing ? pwrite(fd, buffer, LUMP, at) : pread(fd, buffer, LUMP, at)) != LUMP) fail(workload);
    done += LUMP;
    at += LUMP;
    if (at + LUMP <= disk_size) continue;
    at = 0;
    if (!direct && ioctl(fd, BLKFLSBUF, 0) < 0) fail("BLKFLSBUF");
  } while ((end = now()) < start + seconds);
  if (writing && fsync(fd) < 0) fail("fsync");
  report(disk, workload, done / (now() - start) / 1e6);
  close(fd);
}

static uint64_t random_state = 88172645463325252ull;

static long random_block(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (long)(random_state % (uint64_t)(disk_size / BLOCK)) * BLOCK;
}

/* Aligned blocks anywhere, past the page cache, so many at once. */
static void scattered(const char *disk, const char *workload, int writing, int depth) {
  int fd = open_disk(disk, O_RDWR | O_DIRECT);
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, DEEPEST, &context) < 0) fail("io_setup");
  struct iocb requests[DEEPEST], *ready[DEEPEST];
  struct io_event events[DEEPEST];
  for (int i = 0; i < depth; i++) {
    requests[i] = (struct iocb){ .aio_fildes = fd, .aio_lio_opcode = writing ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
      .aio_buf = (uintptr_t)(buffer + i * BLOCK), .aio_nbytes = BLOCK, .aio_data = i };
    ready[i] = &requests[i];
  }
  long done = 0, count = depth;
  double start = now(), end;
  do {
    for (long i = 0; i < count; i++) ready[i]->aio_offset = random_block();
    if (syscall(SYS_io_submit, context, count, ready) != count) fail("io_submit");
    count = syscall(SYS_io_getevents, context, 1, DEEPEST, events, NULL);
    if (count < 1) fail("io_getevents");
    for (long i = 0; i < count; i++) {
      if (events[i].res != BLOCK) fail(workload);
      ready[i] = &requests[events[i].data];
    }
    done += count;
  } while ((end = now()) < start + seconds);
  syscall(SYS_io_destroy, context);
  report(disk, workload, done / (end - start));
  close(fd);
}

static void measure(const char *disk) {
  sequential(disk, "read-direct", 0, 1);
  sequential(disk, "write-direct", 1, 1);
  sequential(disk, "read-cached", 0, 0);
  sequential(disk, "write-cached", 1, 0);
  scattered(disk, "randread-1", 0, 1);
  scattered(disk, "randread-16", 0, 16);
  scattered(disk, "randwrite-1", 1, 1);
  scattered(disk, "randwrite-16", 1, 16);
}

int main(void) {
  mkdir("/dev", 0755);
  mkdir("/proc", 0555);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  mount("proc", "/proc", "proc", 0, NULL);
  load_modules();
  static char line[4096];
  int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, line, sizeof line - 1) < 0) fail("/proc/cmdline");
  close(fd);
  char *disks = strstr(line, "io.disks="), *time = strstr(line, "io.seconds=");
  if (time) seconds = atof(time + 11);
  if (posix_memalign((void **)&buffer, BLOCK, LUMP)) fail("memory");
  memset(buffer, 0x5A, LUMP);
  if (disks) {
    disks = strtok(disks + 9, " \n");
    for (char *disk = strtok(disks, ","); disk; disk = strtok(NULL, ",")) measure(disk);
  }
  printf("trapline-io end\n");
  fflush(stdout);
  sync();
  reboot(RB_POWER_OFF);
  return 0;
}
