/*
 * What Linux does better and POSIX does too. system_linux.c and system_posix.c both have all of it;
 * the build takes one (`make POSIX=1` takes the twin, on Linux too, so that the tests reach it).
 */
#ifndef LASTCALL_SYSTEM_H
#define LASTCALL_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

/* "linux" or "posix", for --version. */
extern const char *const system_name;

/* A pipe; see fd_pipe, which is what callers use. */
int system_pipe(int ends[2]);

/*
 * Accepts a connection, born close-on-exec and non-blocking. peer may be NULL. Returns the
 * descriptor, or -1 with errno of accept(2).
 */
int system_accept(int listener, struct sockaddr *peer, socklen_t *length);

/*
 * Who connected a Unix stream socket, as the kernel noted it then. *pid is 0 where only the user is
 * told. Returns 0, or -1 with errno (ENOSYS: the system does not tell).
 */
int system_peer(int connection, uid_t *uid, pid_t *pid);

/* The same with its group. */
int system_peer_group(int connection, uid_t *uid, gid_t *gid, pid_t *pid);

/*
 * Memory shared with every child forked later, zeroed; *fd is the descriptor that keeps it (so that
 * it can survive an execve). Returns the address, or NULL with errno. Unmap with munmap.
 */
void *system_shared_memory(size_t size, int *fd);

/* Which symbolic links are followed on the way to a file. */
enum system_links {
	LINKS_INSIDE, /* those that stay below the root; the twin follows none */
	LINKS_NEVER,
	LINKS_ANYWHERE, /* also those that lead out */
};

/*
 * Opens path for reading, beneath the folder root and nowhere else, unless links may lead anywhere.
 * Never blocks on a FIFO. An empty path is the root itself. Returns the descriptor, or -1 with
 * errno: ENOENT, ENOTDIR, EACCES, ENAMETOOLONG, and EXDEV or ELOOP for a path that leads out.
 */
int system_open_beneath(int root, const char *path, enum system_links links);

/* A file without a name, for reading and writing, gone with its last descriptor. Returns it, or -1
 * with errno. */
int system_scratch_file(void);

/*
 * Sends bytes of a file to a socket, without copying them where the system can: then nobody may
 * rewrite them any more. SIGPIPE must be ignored. Returns as send(2).
 */
ssize_t system_send_file(int to, int from, off_t at, size_t length);

/* How many bytes a socket has that its peer has not taken; -1: that is not known. */
int system_untaken(int fd);

/* No program that this process starts gains privilege. Returns 0 (also where there is no such
 * thing) or -1. */
int system_no_new_privileges(void);

/* Lets a process that changed its user leave a core, where that has to be said. */
void system_allow_core(void);

/*
 * When the parent dies, be continued if stopped, so that an orphan cannot stay stopped and hold
 * what it has. Call it after the user was changed, which forgets it. Does nothing in the twin.
 */
void system_wake_on_parent_death(void);

/* The file that this process runs: what it is, and by what path. Return false where the system does
 * not tell. */
bool system_program(struct stat *info);
bool system_program_path(char *out, size_t size);

/*
 * What a child that was not reaped yet has resident in memory and shares with nobody, in bytes;
 * what a fork left it in common with its parent counts as its own. Returns -1 with errno: ENOSYS,
 * the system does not tell, and the child has to ask system_own_memory.
 */
int64_t system_memory_of(pid_t child);

/*
 * The most that this process had resident since its birth, in bytes, what it shares included.
 * Returns -1 where system_memory_of knows better.
 */
int64_t system_own_memory(void);

/* In a child that is to become a program: it is killed when its parent dies. Does nothing in the
 * twin. Async-signal-safe. */
void system_end_with_parent(void);

/* Sets signals that the C library keeps to itself, and that whoever started us may have ignored, to
 * their defaults. Does nothing in the twin. Async-signal-safe. */
void system_usual_signals(void);

/*
 * Processes whose parent dies below this one become its children, so that it hears of them. Does
 * nothing in the twin.
 */
void system_adopt_orphans(void);

/*
 * The children of this process, at most max of them. Returns how many, 0 also where the system does
 * not tell.
 */
size_t system_children(pid_t *children, size_t max);

/*
 * A socket for what a program says of itself (sd_notify(3)), and its address, as NOTIFY_SOCKET has
 * it. Linux: one without a file. The twin: one in a folder of its own. Returns it, or -1 with
 * errno. system_notify_close closes it and removes what there is.
 */
int system_notify_open(char *address, size_t size);
void system_notify_close(int *fd, const char *address);

/*
 * Takes one message, and ends it with a NUL. Returns its length, 0 for one of another user (where a
 * folder does not keep those out), or -1 with errno EAGAIN, EINTR, ….
 */
ssize_t system_notify_receive(int fd, char *out, size_t size);

/* Closes every descriptor from lowest on. */
void system_close_from(int lowest);

/* The ports that outgoing connections are given. Returns false where the system does not tell. */
bool system_ephemeral_ports(unsigned *low, unsigned *high);

/*
 * Signals a process through a handle that cannot come to mean another process. system_process_open
 * returns a descriptor, or -1 (no such process, or no such thing here); system_process_signal
 * returns 0 or -1.
 */
int system_process_open(pid_t pid);
int system_process_signal(int process, pid_t pid, int signal);

#endif
