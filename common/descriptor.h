/*
 * Descriptors: every one is born close-on-exec and non-blocking, and is -1 when it is not open.
 */
#ifndef LASTCALL_DESCRIPTOR_H
#define LASTCALL_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>

/* Closes *fd if it is open and sets it to -1. errno is kept. */
void fd_close(int *fd);

/* Makes a descriptor that came from elsewhere like ours. Return 0, or -1 with errno of fcntl(2). */
int fd_set_nonblocking(int fd);
int fd_set_cloexec(int fd, bool on);

/* Makes fd lead to where other leads, close-on-exec; other stays as it is. Returns 0, or -1 with
 * errno of dup2(2). */
int fd_redirect(int fd, int other);

/*
 * A pipe, read end first; a pair of Unix sockets of a type (SOCK_SEQPACKET keeps messages apart
 * and tells when the other side is gone). Both -1 on failure. Return 0, or -1 with errno EMFILE,
 * ENFILE or ENOMEM.
 */
int fd_pipe(int ends[2]);
int fd_pair(int ends[2], int type);

/* Writes it all to a blocking descriptor, or says why not. Returns 0, or -1 with errno of write(2).
 */
int fd_write_all(int fd, const void *bytes, size_t length);

#endif
