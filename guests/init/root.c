/* A root file system on a disk in place of the initramfs: trapline.root=DEVICE on the kernel's command line. */
#include "init.h"

enum { COMMAND_LINE_SIZE = 4096, ATTEMPTS = 200, PAUSE_MS = 10 };

static char command_line[COMMAND_LINE_SIZE];

/* The value of a word NAME=VALUE, cut off at its end; null if there is none. */
static char *value_of(const char *name) {
  usize length = length_of(name);
  int fd = CALL2(SYS_open, "/proc/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  isize size = CALL3(SYS_read, fd, command_line, COMMAND_LINE_SIZE - 1);
  CALL1(SYS_close, fd);
  for (isize i = 0; i < size; i++) {
    if (i > 0 && command_line[i - 1] != ' ') continue;
    usize same = 0;
    while (same < length && i + (isize)same < size && command_line[i + same] == name[same]) same++;
    if (same < length) continue;
    char *value = command_line + i + length;
    char *end = value;
    while (end < command_line + size && *end != ' ' && *end != '\n') end++;
    *end = 0;
    return value;
  }
  return 0;
}

static void keep(const char *from, const char *to) {
  CALL2(SYS_mkdir, to, 0755);
  CALL5(SYS_mount, from, to, 0, MS_MOVE, 0);
}

/* Mounts it, takes along what is mounted, and goes there for good. Whether there is one. */
int root_up(void) {
  char *device = value_of("trapline.root=");
  if (!device) return 0;
  CALL2(SYS_mkdir, "/newroot", 0755);
  isize mounted = -1;
  /* The disk's driver may still be looking at it. */
  for (int i = 0; i < ATTEMPTS && mounted < 0; i++) {
    mounted = CALL5(SYS_mount, device, "/newroot", "ext4", MS_NOATIME, 0);
    if (mounted < 0) CALL3(SYS_poll, 0, 0, PAUSE_MS);
  }
  if (mounted < 0) {
    int console = CALL2(SYS_open, "/dev/console", O_RDWR | O_CLOEXEC);
    if (console >= 0) say(console, "init: the root file system cannot be mounted; this is the initramfs\n");
    return 0;
  }
  keep("/proc", "/newroot/proc");
  keep("/sys", "/newroot/sys");
  keep("/dev", "/newroot/dev");
  keep("/tmp", "/newroot/tmp");
  keep("/run", "/newroot/run");
  CALL1(SYS_chdir, "/newroot");
  CALL5(SYS_mount, ".", "/", 0, MS_MOVE, 0);
  CALL1(SYS_chroot, ".");
  CALL1(SYS_chdir, "/");
  return 1;
}
