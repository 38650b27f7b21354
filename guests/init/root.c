/* A root file system on a disk in place of the initramfs: trapline.root=DEVICE on the kernel's command line. */
#include "init.h"

enum { ATTEMPTS = 200, PAUSE_MS = 10 };

static void keep(const char *from, const char *to) {
  CALL2(SYS_mkdir, to, 0755);
  CALL5(SYS_mount, from, to, 0, MS_MOVE, 0);
}

/* Mounts it, takes along what is mounted, and goes there for good. Whether there is one. */
int root_up(void) {
  char *device = command_line_value("trapline.root=");
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
