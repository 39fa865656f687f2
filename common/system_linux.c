/* The Linux side of system.h. */
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "beneath.h"
#include "descriptor.h"

const char *const system_name = "linux";

/* musl-gcc has no linux/openat2.h: the structure and the flags of openat2(2). */
struct open_how_v0 {
	uint64_t flags;
	uint64_t mode;
	uint64_t resolve;
};
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#define RESOLVE_NO_MAGIC 0x02u /* RESOLVE_NO_MAGICLINKS */
#define RESOLVE_NO_LINKS 0x04u /* RESOLVE_NO_SYMLINKS */
#define RESOLVE_BELOW 0x08u /* RESOLVE_BENEATH */

int system_pipe(int ends[2])
{
	return pipe2(ends, O_CLOEXEC | O_NONBLOCK);
}

int system_accept(int listener, struct sockaddr *peer, socklen_t *length)
{
	return accept4(listener, peer, length, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int system_peer(int connection, uid_t *uid, pid_t *pid)
{
	gid_t gid;

	return system_peer_group(connection, uid, &gid, pid);
}

int system_peer_group(int connection, uid_t *uid, gid_t *gid, pid_t *pid)
{
	struct ucred peer;
	socklen_t length = sizeof peer;

	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &length) == -1)
		return -1;
	*uid = peer.uid;
	*gid = peer.gid;
	*pid = peer.pid;
	return 0;
}

void *system_shared_memory(size_t size, int *fd)
{
	void *memory;

	*fd = memfd_create("lastcall", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd == -1)
		return NULL;
	if (ftruncate(*fd, (off_t)size) == -1)
		goto fail;
	/* Whoever has it must not be able to take it away under the others (SIGBUS). */
	if (fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)
		goto fail;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (memory != MAP_FAILED)
		return memory;
fail:
	close(*fd);
	*fd = -1;
	return NULL;
}

int system_scratch_file(void)
{
	return memfd_create("lastcall-scratch", MFD_CLOEXEC);
}

int system_untaken(int fd)
{
	int count;

	return ioctl(fd, SIOCOUTQ, &count) == -1 ? -1 : count;
}

ssize_t system_send_file(int to, int from, off_t at, size_t length)
{
	return sendfile(to, from, &at, length);
}

int system_open_beneath(int root, const char *path, enum system_links links)
{
	struct open_how_v0 how = {
	    .flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY,
	    .resolve = RESOLVE_BELOW | (links == LINKS_NEVER ? RESOLVE_NO_LINKS : RESOLVE_NO_MAGIC),
	};
	int tries = 3;
	long fd;

	if (links == LINKS_ANYWHERE)
		return beneath_follow(root, path);

	/* EAGAIN: something was renamed meanwhile and the kernel could not tell; it asks to try
	 * again. */
	do {
		fd = syscall(SYS_openat2, root, path[0] ? path : ".", &how, sizeof how);
	} while (fd == -1 && errno == EAGAIN && --tries > 0);
	if (fd == -1 && (errno == ENOSYS || errno == EPERM))
		return beneath_walk(root, path);
	return (int)fd;
}

int system_no_new_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

void system_allow_core(void)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

void system_wake_on_parent_death(void)
{
	prctl(PR_SET_PDEATHSIG, SIGCONT, 0, 0, 0);
}

void system_end_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

bool system_program(struct stat *info)
{
	return stat("/proc/self/exe", info) == 0;
}

bool system_program_path(char *out, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", out, size);

	if (length <= 0 || (size_t)length == size)
		return false;
	out[length] = '\0';
	return true;
}

void system_usual_signals(void)
{
	/* A struct of the kernel, all zero: SIG_DFL, no flags. The last argument is the size of its
	 * set of signals. */
	static const unsigned long usual[16];

	for (int signal = 32; signal <= 34; signal++)
		syscall(SYS_rt_sigaction, signal, usual, NULL, 8);
}

void system_adopt_orphans(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

size_t system_children(pid_t *children, size_t max)
{
	size_t count = 0;
	char path[64];
	FILE *list;
	long pid;

	snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
	list = fopen(path, "re");
	if (list == NULL)
		return 0;
	while (count < max && fscanf(list, "%ld", &pid) == 1)
		children[count++] = (pid_t)pid;
	fclose(list);
	return count;
}

void system_close_from(int lowest)
{
	struct rlimit limit;

	if (syscall(SYS_close_range, (unsigned)lowest, ~0u, 0u) == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_max == RLIM_INFINITY)
		limit.rlim_max = 1 << 20;
	for (rlim_t fd = (rlim_t)lowest; fd < limit.rlim_max; fd++)
		close((int)fd);
}

bool system_ephemeral_ports(unsigned *low, unsigned *high)
{
	FILE *range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	bool read;

	if (range == NULL)
		return false;
	read = fscanf(range, "%u %u", low, high) == 2;
	fclose(range);
	return read;
}

int system_process_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

int system_process_signal(int process, pid_t pid, int signal)
{
	if (process >= 0)
		return (int)syscall(SYS_pidfd_send_signal, process, signal, NULL, 0);
	return kill(pid, signal);
}

int64_t system_memory_of(pid_t child)
{
	char path[64], text[128];
	long long size, resident, shared;
	ssize_t length;
	int fd;

	snprintf(path, sizeof path, "/proc/%ld/statm", (long)child);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	length = read(fd, text, sizeof text - 1);
	fd_close(&fd);
	if (length == -1)
		return -1;
	text[length] = '\0';
	if (sscanf(text, "%lld %lld %lld", &size, &resident, &shared) != 3) {
		errno = EPROTO;
		return -1;
	}
	return resident > shared ? (resident - shared) * sysconf(_SC_PAGESIZE) : 0;
}

int64_t system_own_memory(void)
{
	return -1;
}

int system_notify_open(char *address, size_t size)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t length = sizeof name;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd == -1)
		return -1;
	/* Nothing but the family: the kernel chooses an abstract name (unix(7)). */
	if (bind(fd, (const struct sockaddr *)&name, sizeof(sa_family_t)) == -1 ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == -1 ||
	    getsockname(fd, (struct sockaddr *)&name, &length) == -1) {
		fd_close(&fd);
		return -1;
	}
	snprintf(address, size, "@%.*s", (int)(length - offsetof(struct sockaddr_un, sun_path) - 1),
	    name.sun_path + 1);
	return fd;
}

void system_notify_close(int *fd, const char *address)
{
	(void)address;
	fd_close(fd);
}

ssize_t system_notify_receive(int fd, char *out, size_t size)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec part = {out, size - 1};
	struct msghdr packet = {
	    .msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof control.bytes,
	};
	ssize_t got = recvmsg(fd, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *at = got == -1 ? NULL : CMSG_FIRSTHDR(&packet);
	struct ucred who = {.uid = (uid_t)-1};

	if (got == -1)
		return -1;
	out[got] = '\0';
	/* Descriptors that were sent along find no room behind this, and the kernel closes them. */
	if (at != NULL && at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_CREDENTIALS &&
	    at->cmsg_len >= CMSG_LEN(sizeof who))
		memcpy(&who, CMSG_DATA(at), sizeof who);
	return who.uid == geteuid() || who.uid == 0 ? got : 0;
}
