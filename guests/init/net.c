/* Addresses of network cards that the host knows before anybody asks:
 * trapline.ethN=ADDRESS/PREFIX,GATEWAY,NAMESERVER,ADDRESS6/PREFIX,GATEWAY6 on the kernel's command line, any of them empty.
 * Without DHCP a card costs a boot some microseconds. */
#include "init.h"

enum { CARDS = 8, FIELDS = 5, LONGEST_FIELD = 64, BITS4 = 32, BITS6 = 128 };

struct address4 { u16 family, port; u8 address[4]; u8 zero[8]; };
struct request4 { char name[16]; union { struct address4 address; short flags; int index; }; u8 rest[8]; };
struct request6 { u8 address[16]; u32 prefix; int index; };
struct route4 { u64 pad; struct address4 to, gateway, mask; u16 flags; short pad1; u64 pad2; void *pad3; short metric; char *device; u64 mtu, window; u16 rtt; };
struct route6 { u8 to[16], from[16], gateway[16]; u32 type; u16 to_length, from_length; u32 metric; u64 info; u32 flags; int index; };

static const char *number(const char *text, u32 *value) {
  *value = 0;
  while (*text >= '0' && *text <= '9') *value = *value * 10 + (*text++ - '0');
  return text;
}

static const char *parse4(const char *text, u8 *address) {
  for (int i = 0; i < 4; i++) {
    u32 value;
    text = number(text, &value);
    address[i] = value;
    if (i < 3 && *text++ != '.') return 0;
  }
  return text;
}

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

/* Groups of hexadecimal digits between colons, and at most one gap of zeros: "::". */
static const char *parse6(const char *text, u8 *address) {
  int used = 0, gap = -1;
  memset(address, 0, 16);
  while (used < 16) {
    if (text[0] == ':' && text[1] == ':') {
      if (gap >= 0) return 0;
      gap = used;
      text += 2;
    } else if (used) {
      if (*text != ':') break;
      text++;
    }
    if (digit(*text) < 0) break;
    u32 group = 0;
    while (digit(*text) >= 0) group = group << 4 | digit(*text++);
    address[used++] = group >> 8;
    address[used++] = group;
  }
  if (gap < 0) return used == 16 ? text : 0;
  memmove(address + 16 - (used - gap), address + gap, used - gap);
  memset(address + gap, 0, 16 - used);
  return text;
}

static void configure4(int fd, struct request4 *card, const char *address, const char *gateway) {
  u32 prefix = BITS4;
  card->address = (struct address4){ .family = AF_INET };
  const char *rest = parse4(address, card->address.address);
  if (!rest) return;
  if (*rest == '/') number(rest + 1, &prefix);
  CALL3(SYS_ioctl, fd, SIOCSIFADDR, card);
  u32 mask = prefix ? ~0u << (BITS4 - prefix) : 0;
  for (int i = 0; i < 4; i++) card->address.address[i] = mask >> (24 - 8 * i);
  CALL3(SYS_ioctl, fd, SIOCSIFNETMASK, card);
  struct route4 route = { .to.family = AF_INET, .mask.family = AF_INET, .gateway.family = AF_INET, .flags = RTF_UP | RTF_GATEWAY, .device = card->name };
  if (*gateway && parse4(gateway, route.gateway.address)) CALL3(SYS_ioctl, fd, SIOCADDRT, &route);
}

static void configure6(int index, const char *address, const char *gateway) {
  struct request6 own = { .prefix = BITS6, .index = index };
  const char *rest = parse6(address, own.address);
  int fd = CALL3(SYS_socket, AF_INET6, SOCK_DGRAM, 0);
  if (fd < 0 || !rest) return;
  if (*rest == '/') number(rest + 1, &own.prefix);
  CALL3(SYS_ioctl, fd, SIOCSIFADDR, &own);
  struct route6 route = { .metric = 1, .flags = RTF_UP | RTF_GATEWAY, .index = index };
  if (*gateway && parse6(gateway, route.gateway)) CALL3(SYS_ioctl, fd, SIOCADDRT, &route);
  CALL1(SYS_close, fd);
}

static void append(char *to, const char *text) {
  while (*to) to++;
  memcpy(to, text, length_of(text) + 1);
}

/* The host has made sure that nobody has the address: looking for others takes a second. */
static void skip_duplicate_detection(const char *name) {
  char path[64] = "/proc/sys/net/ipv6/conf/";
  append(path, name);
  append(path, "/accept_dad");
  write_file(path, "0\n");
}

static void name_server(const char *address) {
  int fd = CALL3(SYS_open, "/etc/resolv.conf", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return;
  say(fd, "nameserver ");
  say(fd, address);
  say(fd, "\n");
  CALL1(SYS_close, fd);
}

static void configure(int fd, const char *name, const char *value) {
  char fields[FIELDS][LONGEST_FIELD];
  memset(fields, 0, sizeof fields);
  for (int field = 0, at = 0; *value && field < FIELDS; value++) {
    if (*value == ',') field++, at = 0;
    else if (at < LONGEST_FIELD - 1) fields[field][at++] = *value;
  }
  struct request4 card;
  memset(&card, 0, sizeof card);
  memcpy(card.name, name, length_of(name));
  if (CALL3(SYS_ioctl, fd, SIOCGIFINDEX, &card) < 0) return;
  int index = card.index;
  if (fields[3][0]) skip_duplicate_detection(name);
  card.flags = IFF_UP | IFF_RUNNING;
  CALL3(SYS_ioctl, fd, SIOCSIFFLAGS, &card);
  if (fields[0][0]) configure4(fd, &card, fields[0], fields[1]);
  if (fields[2][0]) name_server(fields[2]);
  if (fields[3][0]) configure6(index, fields[3], fields[4]);
}

void network_up(void) {
  int fd = CALL3(SYS_socket, AF_INET, SOCK_DGRAM, 0);
  if (fd < 0) return;
  for (int i = 0; i < CARDS; i++) {
    char word[] = "trapline.eth0=", name[] = "eth0";
    word[12] = name[3] = '0' + i;
    const char *value = command_line_value(word);
    if (value) configure(fd, name, value);
  }
  CALL1(SYS_close, fd);
}
