/*
 * The pid file: a lock that lives exactly as long as its master, with the pid in it for people.
 *
 * The lock (fcntl(2), not inherited by workers) is the truth: a file left by a dead server is taken
 * over, a pid that was given to another process means nothing, and who holds the lock is asked of
 * the kernel. The second line is written last: what the stop did, for `lastcall stop` to print.
 */
#ifndef LASTCALL_PIDFILE_H
#define LASTCALL_PIDFILE_H

#include <stddef.h>
#include <sys/types.h>

struct pidfile {
	int fd; /* -1: none */
	char *path; /* owned: the configuration that named it may be replaced */
};

/*
 * Takes the lock and writes the pid. Returns 0, or -1 with why ("… is locked by a running lastcall,
 * pid 4711"). Mode 0600: whoever could read it could
 * lock it, and keep the next start waiting. A symbolic link or anything but a regular file is
 * refused.
 */
int pidfile_open(struct pidfile *pidfile, const char *path, char *why, size_t size);

/* Writes how the stop ended: the exit status and the receipt. */
void pidfile_say(struct pidfile *pidfile, int status, const char *receipt);

/* Unlinks the file if it is still ours, and gives up the lock. */
void pidfile_close(struct pidfile *pidfile);

/* In a worker: closes its copy; the lock stays the master's. */
void pidfile_detach(struct pidfile *pidfile);

/*
 * Who holds the lock of an open pid file: a pid, 0 for nobody, or -1 with errno; EXDEV: somebody
 * who has no pid here, in another container that shares the file. pidfile_why says it in words.
 */
pid_t pidfile_holder(int fd);
const char *pidfile_why(int error);

#endif
