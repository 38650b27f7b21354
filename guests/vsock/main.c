/* Speaks vsock for the guest tests: "listen PORT" sends back what one peer sends; "connect PORT" says a word to the host and prints the answer. */
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what) {
  perror(what);
  return 1;
}

int main(int count, char **words) {
  if (count != 3) return 2;
  struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_port = (unsigned)atoi(words[2]) };
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) return fail("socket");
  char buffer[65536];
  if (strcmp(words[1], "listen") == 0) {
    address.svm_cid = VMADDR_CID_ANY;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0) return fail("listen");
    puts("listening");
    fflush(stdout);
    int peer = accept(fd, 0, 0);
    if (peer < 0) return fail("accept");
    for (ssize_t n; (n = read(peer, buffer, sizeof buffer)) > 0;)
      for (ssize_t done = 0; done < n;) {
        ssize_t written = write(peer, buffer + done, (size_t)(n - done));
        if (written < 0) return fail("write");
        done += written;
      }
    return 0;
  }
  address.svm_cid = VMADDR_CID_HOST;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) return fail("connect");
  if (write(fd, "guest", 5) != 5) return fail("write");
  ssize_t n = read(fd, buffer, sizeof buffer);
  if (n < 0) return fail("read");
  return fwrite(buffer, 1, (size_t)n, stdout) == (size_t)n ? 0 : 1;
}
