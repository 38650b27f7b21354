/* The guest of ./dev bench net, its init: loads the drivers, gives its card an address, and for net.seconds in each direction moves what a TCP connection to port
 * net.port of the host moves. Says "trapline-net WORKLOAD VALUE" (MB/s, or round trips a second), and switches off. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LUMP = 1 << 17, CARD_MTU = 65520 };

static char buffer[LUMP];
static double seconds = 2;
static int port;

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
  static const char *const names[] = { "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "failover", "net_failover", "virtio_net" };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[64];
    snprintf(path, sizeof path, "/lib/modules/%s.ko", names[i]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0) fail(path);
    close(fd);
  }
}

static void set_address(struct sockaddr *to, const char *text) {
  *(struct sockaddr_in *)to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(text) };
}

static void configure(void) {
  struct ifreq card = { .ifr_name = "eth0" };
  struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  card.ifr_mtu = CARD_MTU;
  if (ioctl(fd, SIOCSIFMTU, &card) < 0) fail("mtu");
  set_address(&card.ifr_addr, "10.0.2.15");
  if (ioctl(fd, SIOCSIFADDR, &card) < 0) fail("address");
  set_address(&card.ifr_netmask, "255.255.255.0");
  if (ioctl(fd, SIOCSIFNETMASK, &card) < 0) fail("netmask");
  card.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(fd, SIOCSIFFLAGS, &card) < 0) fail("up");
  set_address(&route.rt_dst, "0.0.0.0");
  set_address(&route.rt_genmask, "0.0.0.0");
  set_address(&route.rt_gateway, "10.0.2.2");
  if (ioctl(fd, SIOCADDRT, &route) < 0) fail("route");
  close(fd);
}

/* The host's server does what the first byte says. */
static int ask(char what) {
  struct sockaddr_in host = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = inet_addr("10.0.2.2") };
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, (struct sockaddr *)&host, sizeof host) < 0 || write(fd, &what, 1) != 1) fail("connect");
  return fd;
}

static void report(const char *workload, double value) {
  printf("trapline-net %s %.1f\n", workload, value);
  fflush(stdout);
}

/* Until the host says that it has all. */
static void send_much(void) {
  int fd = ask('s');
  double start = now();
  long done = 0;
  do {
    ssize_t n = write(fd, buffer, LUMP);
    if (n < 0) fail("write");
    done += n;
  } while (now() < start + seconds);
  shutdown(fd, SHUT_WR);
  if (read(fd, buffer, 1) != 1) fail("read");
  report("send", done / (now() - start) / 1e6);
  close(fd);
}

static void receive_much(void) {
  int fd = ask('r');
  double start = now(), end;
  long done = 0;
  do {
    ssize_t n = read(fd, buffer, LUMP);
    if (n <= 0) fail("read");
    done += n;
  } while ((end = now()) < start + seconds);
  report("receive", done / (end - start) / 1e6);
  close(fd);
}

static void go_round(void) {
  int fd = ask('e');
  double start = now(), end;
  long done = 0;
  do {
    if (write(fd, buffer, 1) != 1 || read(fd, buffer, 1) != 1) fail("echo");
    done++;
  } while ((end = now()) < start + seconds);
  report("round-trips", done / (end - start));
  close(fd);
}

int main(void) {
  char line[4096] = "", *word;
  mount("proc", "/proc", "proc", 0, 0);
  int fd = open("/proc/cmdline", O_RDONLY);
  if (read(fd, line, sizeof line - 1) < 0) fail("cmdline");
  close(fd);
  if ((word = strstr(line, "net.seconds="))) seconds = atof(word + 12);
  if ((word = strstr(line, "net.port="))) port = atoi(word + 9);
  load_modules();
  configure();
  send_much();
  receive_much();
  go_round();
  printf("trapline-net end\n");
  fflush(stdout);
  reboot(RB_POWER_OFF);
}
