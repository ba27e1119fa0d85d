/*
 * For tests, in the guest: AF_VSOCK from a shell.
 *   vsock listen PORT PROGRAM [ARGUMENT...]   runs the program for each connection, on stdin and stdout
 *   vsock connect PORT                        sends stdin to the host and shows what comes back
 */
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void copy(int from, int to) {
  static char bytes[65536];
  ssize_t count;
  while ((count = read(from, bytes, sizeof bytes)) > 0)
    for (ssize_t done = 0; done < count;) {
      ssize_t written = write(to, bytes + done, count - done);
      if (written <= 0) die("write");
      done += written;
    }
  if (count < 0) die("read");
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = strtoul(argv[2], NULL, 0)};
  signal(SIGCHLD, SIG_IGN);
  if (strcmp(argv[1], "listen") == 0) {
    address.svm_cid = VMADDR_CID_ANY;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0) die("listen");
    for (;;) {
      int connection = accept(fd, NULL, NULL);
      if (connection < 0) die("accept");
      if (fork() == 0) {
        dup2(connection, 0);
        dup2(connection, 1);
        close(connection);
        close(fd);
        execvp(argv[3], argv + 3);
        die(argv[3]);
      }
      close(connection);
    }
  }
  address.svm_cid = VMADDR_CID_HOST;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("connect");
  pid_t child = fork();
  if (child == 0) {
    copy(0, fd);
    shutdown(fd, SHUT_WR);
    _exit(0);
  }
  copy(fd, 1);
  return 0;
}
