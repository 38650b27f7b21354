/* Brings the guest's user space up and down. */
#include "init.h"

static const u64 shutdown_signals = 1ul << (SIGUSR1 - 1) | 1ul << (SIGUSR2 - 1) | 1ul << (SIGTERM - 1) | 1ul << (SIGINT - 1);

/* The value of a word NAME=VALUE on the kernel's command line, until the next call; null if there is none. */
char *command_line_value(const char *name) {
  enum { SIZE = 4096 };
  static char line[SIZE];
  usize length = length_of(name);
  int fd = CALL2(SYS_open, "/proc/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  isize size = CALL3(SYS_read, fd, line, SIZE - 1);
  CALL1(SYS_close, fd);
  for (isize i = 0; i < size; i++) {
    if (i > 0 && line[i - 1] != ' ') continue;
    usize same = 0;
    while (same < length && i + (isize)same < size && line[i + same] == name[same]) same++;
    if (same < length) continue;
    char *value = line + i + length;
    char *end = value;
    while (end < line + size && *end != ' ' && *end != '\n') end++;
    *end = 0;
    return value;
  }
  return 0;
}

void write_file(const char *path, const char *text) {
  int fd = CALL2(SYS_open, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  say(fd, text);
  CALL1(SYS_close, fd);
}

static void mount(const char *type, const char *target, long flags, const char *options) {
  CALL2(SYS_mkdir, target, 0755);
  CALL5(SYS_mount, type, target, type, flags, options);
}

static void bring_loopback_up(void) {
  struct { char name[16]; short flags; char rest[22]; } request = { "lo", IFF_UP | IFF_RUNNING, "" };
  int fd = CALL3(SYS_socket, AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return;
  CALL3(SYS_ioctl, fd, SIOCSIFFLAGS, &request);
  CALL1(SYS_close, fd);
}

/* Drivers that Debian's kernel keeps outside, those that others need first. The host puts in what the machine has use for. */
static const char *const modules[] = {
  "pvpanic", "pvpanic-mmio",
  "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_mmio", "virtio_blk",
  "virtio-rng", "virtio_balloon", "virtio_console", "vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport",
  "failover", "net_failover", "virtio_net",
  "fuse", "virtiofs",
};

static void load_module(const char *name) {
  char path[64] = "/lib/modules/";
  usize start = length_of(path), length = length_of(name);
  memcpy(path + start, name, length);
  memcpy(path + start + length, ".ko", 4);
  int fd = CALL2(SYS_open, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  CALL3(SYS_finit_module, fd, "", 0);
  CALL1(SYS_close, fd);
}

static void run_and_wait(const char *path, const char *const arguments[]) {
  isize child = CALL0(SYS_fork);
  if (child == 0) {
    static const char *const none[] = { 0 };
    CALL3(SYS_execve, path, arguments, none);
    CALL1(SYS_exit, 127);
  }
  int status;
  while (CALL4(SYS_wait4, child, &status, 0, 0) == -EINTR) {}
}

void system_up(void) {
  mount("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
  mount("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
  mount("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
  mount("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
  mount("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
  mount("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
  mount("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755");
  CALL2(SYS_symlink, "/proc/self/fd", "/dev/fd");
  CALL2(SYS_symlink, "/proc/self/fd/0", "/dev/stdin");
  CALL2(SYS_symlink, "/proc/self/fd/1", "/dev/stdout");
  CALL2(SYS_symlink, "/proc/self/fd/2", "/dev/stderr");
  CALL2(SYS_sethostname, "trapline", 8);
  bring_loopback_up();
  for (usize i = 0; i < sizeof modules / sizeof *modules; i++) load_module(modules[i]);
  int on_disk = root_up();
  network_up();
  shares_up();
  if (on_disk) return;
  static const char *const install[] = { "busybox", "--install", "-s", 0 };
  run_and_wait("/bin/busybox", install);
}

/* The signals by which busybox's poweroff, reboot and halt ask init, and the ends of children, as one descriptor. */
int open_signals(void) {
  u64 set = shutdown_signals | 1ul << (SIGCHLD - 1);
  CALL4(SYS_rt_sigprocmask, SIG_BLOCK, &set, 0, sizeof set);
  return CALL4(SYS_signalfd4, -1, &set, sizeof set, O_CLOEXEC | O_NONBLOCK);
}

void unblock_signals(void) {
  u64 none = 0;
  CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
}

/* The time of day, and a seed that makes this guest's random numbers its own: both before the next frame is looked at. */
void refresh(const u8 *payload, usize size) {
  enum { SEED_SIZE = 64 };
  struct { i64 seconds, nanoseconds; } now = { 0, 0 };
  memcpy(&now.seconds, payload, 8);
  memcpy(&now.nanoseconds, payload + 8, 4);
  CALL2(SYS_clock_settime, 0, &now);
  struct { u32 bits, size; u8 seed[SEED_SIZE]; } entropy;
  entropy.size = size - 12 < SEED_SIZE ? size - 12 : SEED_SIZE;
  entropy.bits = entropy.size * 8;
  memcpy(entropy.seed, payload + 12, entropy.size);
  isize random = CALL2(SYS_open, "/dev/urandom", O_RDWR | O_CLOEXEC);
  if (random < 0) return;
  CALL3(SYS_ioctl, random, RNDADDENTROPY, &entropy);
  CALL3(SYS_ioctl, random, RNDRESEEDCRNG, 0);
  CALL1(SYS_close, random);
}

/* The driver goes on with a card that is another one now: the guest began as a copy. */
void change_address(const u8 *from, const u8 *to) {
  enum { MOST_INTERFACES = 64, ADDRESS_SIZE = 6 };
  int fd = CALL3(SYS_socket, AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return;
  for (int index = 1; index < MOST_INTERFACES; index++) {
    struct { char name[16]; union { int index; struct { u16 family; u8 address[14]; }; }; u8 rest[8]; } request = { .index = index };
    if (CALL3(SYS_ioctl, fd, SIOCGIFNAME, &request) < 0 || CALL3(SYS_ioctl, fd, SIOCGIFHWADDR, &request) < 0) continue;
    int same = 1;
    for (int i = 0; i < ADDRESS_SIZE; i++) same &= request.address[i] == from[i];
    if (!same) continue;
    memcpy(request.address, to, ADDRESS_SIZE);
    CALL3(SYS_ioctl, fd, SIOCSIFHWADDR, &request);
  }
  CALL1(SYS_close, fd);
}

void system_down(enum ending ending) {
  static const u32 commands[] = { [POWER_OFF] = 0x4321FEDC, [REBOOT] = 0x01234567, [HALT] = 0xCDEF0123 };
  CALL0(SYS_sync);
  /* Else the kernel's own farewell ends up behind the program's output. A panic before this line still shows. */
  write_file("/proc/sys/kernel/printk", "0\n");
  /* A root on a disk is left as one that was unmounted, if nothing writes to it any more. */
  CALL5(SYS_mount, 0, "/", 0, MS_REMOUNT | MS_RDONLY, 0);
  CALL4(SYS_reboot, 0xFEE1DEAD, 0x28121969, commands[ending], 0);
  for (;;) CALL3(SYS_poll, 0, 0, -1);
}
