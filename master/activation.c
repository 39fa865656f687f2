/* Sockets that came with the start; see activation.h. */
#include "activation.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"

#define PASSED_MAX 16384
#define STORED "listen=" /* how a name of ours in the store begins */

/* ---- names in the store ---- */

/* Appends text to a name, in characters that a name may have. Returns false when it is too long. */
static bool append(char out[ACTIVATION_NAME], const char *text)
{
	size_t n = strlen(out);

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		bool plain = c > ' ' && c < 0x7f && strchr("%=,", c) == NULL;
		size_t room = ACTIVATION_NAME - n;
		int put = c == ':' ? snprintf(out + n, room, "=")
		    : plain        ? snprintf(out + n, room, "%c", c)
				   : snprintf(out + n, room, "%%%02X", c);

		if ((size_t)put >= room)
			return false;
		n += (size_t)put;
	}
	return true;
}

/* FNV-1a, for what does not fit. */
static uint64_t hash(uint64_t value, const char *text)
{
	do {
		value = (value ^ (unsigned char)*text) * UINT64_C(1099511628211);
	} while (*text++ != '\0');
	return value;
}

const char *activation_stored_name(const char *asked, const char *text, char out[ACTIVATION_NAME])
{
	char inode[64] = "";
	struct stat info;
	size_t n;
	bool fits;

	if (strncmp(text, "unix:", 5) == 0 && lstat(text + 5, &info) == 0)
		snprintf(inode, sizeof inode, ",%llx.%llx", (unsigned long long)info.st_dev,
		    (unsigned long long)info.st_ino);
	snprintf(out, ACTIVATION_NAME, STORED);
	fits = append(out, asked);
	if (fits && strcmp(asked, text) != 0) {
		n = strlen(out);
		snprintf(out + n, ACTIVATION_NAME - n, ",");
		fits = strlen(out) > n && append(out, text);
	}
	if (!fits || strlen(out) + strlen(inode) >= ACTIVATION_NAME)
		snprintf(out, ACTIVATION_NAME, STORED "%016llx",
		    (unsigned long long)hash(hash(UINT64_C(14695981039346656037), asked), text));
	snprintf(out + strlen(out), ACTIVATION_NAME - strlen(out), "%s", inode);
	return out;
}

bool activation_is_stored_name(const char *name)
{
	return strncmp(name, STORED, strlen(STORED)) == 0;
}

/* ---- what came ---- */

static int option(int fd, int name)
{
	int value = -1;
	socklen_t length = sizeof value;

	return getsockopt(fd, SOL_SOCKET, name, &value, &length) == -1 ? -1 : value;
}

/* What a descriptor is, if not a socket that listens. Returns NULL, or that. */
static const char *judge(int fd)
{
	union address_socket bound;
	socklen_t length = sizeof bound;
	struct stat info;
	int type;

	if (fstat(fd, &info) == -1)
		return "is not open";
	if (!S_ISSOCK(info.st_mode))
		return "is no socket";
	type = option(fd, SO_TYPE);
	if (type != SOCK_STREAM)
		return type == SOCK_DGRAM ? "is a datagram socket" : "is no stream socket";
	if (getsockname(fd, &bound.any, &length) == -1)
		return "is a socket without an address";
	if (bound.any.sa_family != AF_INET && bound.any.sa_family != AF_INET6 &&
	    bound.any.sa_family != AF_UNIX)
		return "is a socket of a family that is not supported";
	if (option(fd, SO_ACCEPTCONN) != 1)
		return "is a socket that does not listen (with systemd, Accept=no is wanted)";
	return NULL;
}

static void describe(struct passed *passed)
{
	union address_socket bound;
	socklen_t length = sizeof bound;
	int v6only = 1;
	socklen_t size = sizeof v6only;

	if (getsockname(passed->fd, &bound.any, &length) == -1)
		return;
	if (bound.any.sa_family == AF_INET6)
		getsockopt(passed->fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &size);
	address_format(&bound, length, v6only == 0, passed->text, sizeof passed->text);
}

/* Takes one. names is where its name begins, or NULL. */
static void take(struct passed *passed, int fd, const char *names)
{
	size_t length = names != NULL ? strcspn(names, ":") : 0;

	*passed = (struct passed){.fd = fd, .number = fd, .fault = judge(fd)};
	if (length > 0 && length < sizeof passed->name)
		memcpy(passed->name, names, length);
	else
		snprintf(passed->name, sizeof passed->name, "unknown"); /* as sd_listen_fds(3) */
	passed->stored = activation_is_stored_name(passed->name);
	if (fd_set_cloexec(fd, true) == -1 || fd_set_nonblocking(fd) == -1) {
		passed->fd = -1; /* it was not open */
		return;
	}
	if (passed->fault == NULL)
		describe(passed);
}

/* A number that is nothing else, from 0 to most; or -1. */
static long number(const char *text, long most)
{
	char *end;
	long value;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	value = strtol(text, &end, 10);
	return *end != '\0' || errno != 0 || value > most ? -1 : value;
}

int activation_read(struct activation *activation, pid_t self, const char *pid, const char *count,
    const char *names, int first)
{
	long wanted, total;

	*activation = (struct activation){0};
	if (pid == NULL || count == NULL)
		return 0;
	wanted = number(pid, INT32_MAX);
	total = number(count, PASSED_MAX);
	if (wanted != -1 && wanted != (long)self)
		return 0;
	if (wanted == -1 || total == -1) {
		errno = EINVAL;
		return -1;
	}
	activation->all = calloc((size_t)total + 1, sizeof *activation->all);
	if (activation->all == NULL)
		return -1;
	activation->count = (size_t)total;
	for (size_t i = 0; i < activation->count; i++) {
		take(&activation->all[i], first + (int)i, names);
		if (names != NULL) {
			names += strcspn(names, ":");
			names = *names == ':' ? names + 1 : NULL;
		}
	}
	return 0;
}

int activation_take(struct activation *activation)
{
	int result = activation_read(activation, getpid(), getenv("LISTEN_PID"),
	    getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES"), ACTIVATION_FIRST);
	int error = errno;

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	errno = error;
	return result;
}

void activation_close(struct activation *activation)
{
	for (size_t i = 0; i < activation->count; i++)
		fd_close(&activation->all[i].fd);
	free(activation->all);
	*activation = (struct activation){0};
}

/* ---- finding ---- */

int activation_find(const struct activation *activation, const char *name, size_t from)
{
	bool named = false;
	long digits;

	for (size_t i = 0; i < activation->count; i++) {
		const struct passed *passed = &activation->all[i];

		if (passed->stored || strcmp(passed->name, name) != 0)
			continue;
		named = true;
		if (i >= from)
			return (int)i;
	}
	digits = named ? -1 : number(name, INT32_MAX);
	for (size_t i = from; digits >= 0 && i < activation->count; i++) {
		if (!activation->all[i].stored && activation->all[i].number == digits)
			return (int)i;
	}
	return -1;
}

int activation_find_stored(
    const struct activation *activation, const struct address *address, const char *asked)
{
	char text[ADDRESS_TEXT], name[ACTIVATION_NAME];

	address_format(
	    &address->socket, address->length, address->form == ADDRESS_ANY, text, sizeof text);
	for (size_t i = 0; i < activation->count; i++) {
		const struct passed *passed = &activation->all[i];

		if (!passed->stored || passed->fd == -1 || passed->fault != NULL)
			continue;
		/* A Unix socket only while its path still leads to it, which its name tells. */
		if (address->form != ADDRESS_UNIX && address->port != 0 &&
		    strcmp(passed->text, text) == 0)
			return (int)i;
		if (strcmp(passed->name, activation_stored_name(asked, passed->text, name)) == 0)
			return (int)i;
	}
	return -1;
}
