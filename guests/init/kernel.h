/* The Linux system calls that init needs, without a C library (x86-64). */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;
typedef unsigned long usize;
typedef long isize;

enum {
  SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_close = 3, SYS_poll = 7, SYS_rt_sigprocmask = 14, SYS_ioctl = 16,
  SYS_dup2 = 33, SYS_getpid = 39, SYS_socket = 41, SYS_fork = 57, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61,
  SYS_kill = 62, SYS_fcntl = 72, SYS_chdir = 80, SYS_mkdir = 83, SYS_symlink = 88, SYS_setsid = 112, SYS_sync = 162,
  SYS_chroot = 161, SYS_mount = 165, SYS_reboot = 169, SYS_sethostname = 170, SYS_signalfd4 = 289, SYS_pipe2 = 293, SYS_finit_module = 313,
  SYS_clock_settime = 227,
};

enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_TRUNC = 01000, O_NOCTTY = 0400, O_NONBLOCK = 04000, O_CLOEXEC = 02000000 };
enum { ENOENT = 2, EINTR = 4, EAGAIN = 11, ENOTDIR = 20, EPIPE = 32 };
enum { POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };
enum { SIGHUP = 1, SIGINT = 2, SIGKILL = 9, SIGUSR1 = 10, SIGUSR2 = 12, SIGPIPE = 13, SIGTERM = 15, SIGCHLD = 17, SIGCONT = 18 };
enum { SIG_BLOCK = 0, SIG_SETMASK = 2, WNOHANG = 1, F_SETFL = 4, F_DUPFD_CLOEXEC = 1030 };
enum { TCGETS = 0x5401, TCSETS = 0x5402, TCSBRK = 0x5409, TIOCSCTTY = 0x540E, TIOCSWINSZ = 0x5414, SIOCSIFFLAGS = 0x8914 };
enum { SIOCGIFNAME = 0x8910, SIOCSIFHWADDR = 0x8924, SIOCGIFHWADDR = 0x8927 };
enum { SIOCADDRT = 0x890B, SIOCSIFADDR = 0x8916, SIOCSIFNETMASK = 0x891C, SIOCGIFINDEX = 0x8933, RTF_UP = 1, RTF_GATEWAY = 2 };
enum { TIOCSPTLCK = 0x40045431, TIOCGPTPEER = 0x5441 };
enum { RNDADDENTROPY = 0x40085203, RNDRESEEDCRNG = 0x5207 };
enum { AF_INET = 2, AF_INET6 = 10, SOCK_DGRAM = 2, IFF_UP = 1, IFF_RUNNING = 0x40 };
enum { MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_REMOUNT = 32, MS_NOATIME = 1024, MS_MOVE = 8192 };

struct poll_entry { int fd; short events, revents; };
struct window_size { u16 rows, columns, width, height; };
struct terminal { u32 input, output, control, local; u8 discipline, characters[19]; };

static inline isize syscall5(long number, long a, long b, long c, long d, long e) {
  isize result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return result;
}

#define CALL0(n) syscall5(n, 0, 0, 0, 0, 0)
#define CALL1(n, a) syscall5(n, (long)(a), 0, 0, 0, 0)
#define CALL2(n, a, b) syscall5(n, (long)(a), (long)(b), 0, 0, 0)
#define CALL3(n, a, b, c) syscall5(n, (long)(a), (long)(b), (long)(c), 0, 0)
#define CALL4(n, a, b, c, d) syscall5(n, (long)(a), (long)(b), (long)(c), (long)(d), 0)
#define CALL5(n, a, b, c, d, e) syscall5(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

static inline usize length_of(const char *text) {
  usize n = 0;
  while (text[n]) n++;
  return n;
}

static inline int starts_with(const char *text, const char *prefix) {
  while (*prefix) if (*text++ != *prefix++) return 0;
  return 1;
}

/* Writes all of it; 0, or the negative error. */
static inline isize write_all(int fd, const void *data, usize size) {
  const u8 *p = data;
  while (size) {
    isize n = CALL3(SYS_write, fd, p, size);
    if (n == -EINTR) continue;
    if (n < 0) return n;
    p += n;
    size -= n;
  }
  return 0;
}

static inline void say(int fd, const char *text) { write_all(fd, text, length_of(text)); }
