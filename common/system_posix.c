/* The POSIX twin of system_linux.c: the same outcomes with calls that every system has. */
#include "system.h"

#include <errno.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <string.h>
#include <stdlib.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "descriptor.h"

const char *const system_name = "posix";

int system_pipe(int ends[2])
{
	return pipe(ends);
}

int system_accept(int listener, struct sockaddr *peer, socklen_t *length)
{
	int fd = accept(listener, peer, length);

	if (fd == -1)
		return -1;
	if (fd_set_nonblocking(fd) == -1 || fd_set_cloexec(fd, true) == -1)
		fd_close(&fd);
	return fd;
}

/* POSIX has no such call. Linux, where the tests of the twin run, has its own and not this one. */
#if defined __FreeBSD__ || defined __NetBSD__ || defined __OpenBSD__ || defined __DragonFly__ ||   \
    defined __APPLE__
int system_peer_group(int connection, uid_t *uid, gid_t *gid, pid_t *pid)
{
	*pid = 0;
	return getpeereid(connection, uid, gid);
}
#elif defined __linux__
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
#else
int system_peer_group(int connection, uid_t *uid, gid_t *gid, pid_t *pid)
{
	(void)connection;
	(void)uid;
	(void)gid;
	(void)pid;
	errno = ENOSYS;
	return -1;
}
#endif

int system_peer(int connection, uid_t *uid, pid_t *pid)
{
	gid_t gid;

	return system_peer_group(connection, uid, &gid, pid);
}

void *system_shared_memory(size_t size, int *fd)
{
	char name[64];
	void *memory;

	snprintf(name, sizeof name, "/lastcall-%ld", (long)getpid());
	*fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (*fd == -1)
		return NULL;
	shm_unlink(name);
	if (fd_set_cloexec(*fd, true) == -1 || ftruncate(*fd, (off_t)size) == -1)
		goto fail;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (memory != MAP_FAILED)
		return memory;
fail:
	fd_close(fd);
	return NULL;
}

int system_scratch_file(void)
{
	static unsigned serial; /* no state: names must only differ while they are there */
	char name[64];
	int fd;

	snprintf(name, sizeof name, "/lastcall-%ld-%u", (long)getpid(), serial++);
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd == -1)
		return -1;
	shm_unlink(name);
	if (fd_set_cloexec(fd, true) == -1)
		fd_close(&fd);
	return fd;
}

int system_untaken(int fd)
{
	(void)fd;
	return -1;
}

ssize_t system_send_file(int to, int from, off_t at, size_t length)
{
	char bytes[65536];
	ssize_t got = pread(from, bytes, length < sizeof bytes ? length : sizeof bytes, at);

	return got <= 0 ? got : send(to, bytes, (size_t)got, MSG_NOSIGNAL);
}

int system_open_beneath(int root, const char *path, enum system_links links)
{
	if (links == LINKS_ANYWHERE)
		return beneath_follow(root, path);
	return beneath_walk(root, path);
}

int system_no_new_privileges(void)
{
	return 0;
}

void system_allow_core(void)
{
}

void system_wake_on_parent_death(void)
{
}

bool system_program(struct stat *info)
{
	(void)info;
	return false;
}

bool system_program_path(char *out, size_t size)
{
	(void)out;
	(void)size;
	errno = ENOENT;
	return false;
}

void system_end_with_parent(void)
{
}

void system_usual_signals(void)
{
}

void system_adopt_orphans(void)
{
}

size_t system_children(pid_t *children, size_t max)
{
	(void)children;
	(void)max;
	return 0;
}

void system_close_from(int lowest)
{
	long most = sysconf(_SC_OPEN_MAX);

	for (int fd = lowest; fd < (most < 0 || most > INT_MAX ? 65536 : (int)most); fd++)
		close(fd);
}

bool system_ephemeral_ports(unsigned *low, unsigned *high)
{
	(void)low;
	(void)high;
	return false;
}

int system_process_open(pid_t pid)
{
	(void)pid;
	errno = ENOSYS;
	return -1;
}

int system_process_signal(int process, pid_t pid, int signal)
{
	(void)process;
	return kill(pid, signal);
}

int64_t system_memory_of(pid_t child)
{
	(void)child;
	errno = ENOSYS;
	return -1;
}

/* POSIX does not say what ru_maxrss counts, or that there is one: kilobytes nearly everywhere. */
int64_t system_own_memory(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) == -1)
		return -1;
#ifdef __APPLE__
	return (int64_t)usage.ru_maxrss;
#else
	return (int64_t)usage.ru_maxrss * 1024;
#endif
}

int system_notify_open(char *address, size_t size)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char folder[] = "/tmp/lastcall-notify.XXXXXX";
	int fd;

	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(name.sun_path, sizeof name.sun_path, "%s/socket", folder);
	snprintf(address, size, "%s", name.sun_path);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd >= 0 &&
	    (fd_set_cloexec(fd, true) == -1 || fd_set_nonblocking(fd) == -1 ||
		bind(fd, (const struct sockaddr *)&name, sizeof name) == -1))
		fd_close(&fd);
	if (fd == -1)
		rmdir(folder);
	return fd;
}

void system_notify_close(int *fd, const char *address)
{
	char folder[64];
	const char *slash = strrchr(address, '/');

	if (*fd == -1 || slash == NULL)
		return;
	fd_close(fd);
	snprintf(folder, sizeof folder, "%.*s", (int)(slash - address), address);
	unlink(address);
	rmdir(folder);
}

ssize_t system_notify_receive(int fd, char *out, size_t size)
{
	ssize_t got = recv(fd, out, size - 1, MSG_DONTWAIT);

	if (got >= 0)
		out[got] = '\0';
	return got;
}
