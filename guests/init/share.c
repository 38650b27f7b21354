/* Folders that the host shares: trapline.shares=TAG[:ro],... on the kernel's command line. Each is mounted at /mnt/TAG. */
#include "init.h"

enum { LONGEST_TAG = 36 };

static void mount_share(const char *tag, usize length, int read_only) {
  char target[8 + LONGEST_TAG] = "/mnt/", *name = target + 5;
  memcpy(name, tag, length);
  name[length] = 0;
  CALL2(SYS_mkdir, "/mnt", 0755);
  CALL2(SYS_mkdir, target, 0755);
  if (CALL5(SYS_mount, name, target, "virtiofs", MS_NOSUID | MS_NODEV | (read_only ? MS_RDONLY : 0), 0) >= 0) return;
  int console = CALL2(SYS_open, "/dev/console", O_RDWR | O_CLOEXEC);
  if (console < 0) return;
  say(console, "init: cannot mount ");
  say(console, target);
  say(console, "\n");
  CALL1(SYS_close, console);
}

void shares_up(void) {
  const char *at = command_line_value("trapline.shares=");
  while (at && *at) {
    usize length = 0;
    while (at[length] && at[length] != ',' && at[length] != ':') length++;
    int read_only = starts_with(at + length, ":ro");
    if (length && length <= LONGEST_TAG) mount_share(at, length, read_only);
    at += length;
    while (*at && *at++ != ',') {}
  }
}
