/* The command of a lease; see program.h. */
#include "program.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "descriptor.h"
#include "signals.h"

/* ---- what it is told ---- */

static bool is_wildcard(const struct address *address)
{
	if (address->form == ADDRESS_ANY)
		return true;
	if (address->form != ADDRESS_INET)
		return false;
	if (address->socket.any.sa_family == AF_INET)
		return address->socket.in.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&address->socket.in6.sin6_addr);
}

/* Where a wildcard can be reached, with its port. */
static union address_socket reachable(const struct client *client, const struct address *address)
{
	/* The dual one is reached over either family. */
	sa_family_t family = address->form == ADDRESS_ANY
	    ? client->remote ? client->peer.any.sa_family : AF_INET
	    : address->socket.any.sa_family;
	union address_socket to = {.any.sa_family = family};

	if (client->remote && client->peer.any.sa_family == family)
		to = client->peer;
	else if (family == AF_INET)
		to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		to.in6.sin6_addr = in6addr_loopback;
	if (family == AF_INET)
		to.in.sin_port = htons((in_port_t)address->port);
	else
		to.in6.sin6_port = htons((in_port_t)address->port);
	return to;
}

/* The URL with our host, for that of a wildcard says "localhost", which may be the other family. */
static void write_url(struct program_port *port, const char *url)
{
	const char *host = strstr(url, "://"), *path;

	if (host == NULL || port->host[0] == '\0') {
		snprintf(port->url, sizeof port->url, "%s", url);
		return;
	}
	host += 3;
	path = host + strcspn(host, "/");
	snprintf(
	    port->url, sizeof port->url, "%.*s%s%s", (int)(host - url), url, port->address, path);
}

void program_port_of(
    struct program_port *port, const struct client *client, const char *address, const char *url)
{
	struct address read;
	const char *why;

	*port = (struct program_port){.url = ""};
	snprintf(port->address, sizeof port->address, "%s", address);
	if (address_parse(&read, address, &why) == 0 &&
	    (read.form == ADDRESS_ANY || read.form == ADDRESS_INET)) {
		union address_socket to =
		    is_wildcard(&read) ? reachable(client, &read) : read.socket;
		socklen_t length = to.any.sa_family == AF_INET ? sizeof to.in : sizeof to.in6;

		address_format(&to, length, false, port->address, sizeof port->address);
		address_host(&to, port->host, sizeof port->host);
		snprintf(port->port, sizeof port->port, "%u", address_port(&to));
	}
	if (url != NULL)
		write_url(port, url);
}

/* ---- starting ---- */

static const int noted[PROGRAM_SIGNALS] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

void program_signals_note(struct program_signals *signals)
{
	struct sigaction how;

	sigprocmask(SIG_SETMASK, NULL, &signals->mask);
	for (size_t i = 0; i < PROGRAM_SIGNALS; i++)
		signals->ignored[i] =
		    sigaction(noted[i], NULL, &how) == 0 && how.sa_handler == SIG_IGN;
}

void program_signals_restore(const struct program_signals *signals)
{
	for (size_t i = 0; i < PROGRAM_SIGNALS; i++) {
		if (signals->ignored[i])
			signal(noted[i], SIG_IGN);
	}
}

/* In the child. */
static void become(
    char *const *words, const struct program_port *port, const struct program_signals *signals)
{
	static const int none[] = {0};

	setenv("LASTCALL_ADDR", port->address, 1);
	setenv("LASTCALL_HOST", port->host, 1);
	setenv("LASTCALL_PORT", port->port, 1);
	if (port->url[0] != '\0')
		setenv("LASTCALL_URL", port->url, 1);
	else
		unsetenv("LASTCALL_URL");
	signals_detach(none);
	program_signals_restore(signals);
	sigprocmask(SIG_SETMASK, &signals->mask, NULL);
	execvp(words[0], words);
}

/* Reads why the child could not become the command. Returns 0 when it did. */
static int read_error(int fd)
{
	struct pollfd waiting = {.fd = fd, .events = POLLIN};
	int error = 0;
	ssize_t n;

	do {
		poll(&waiting, 1, -1);
		n = read(fd, &error, sizeof error);
	} while (n == -1 && (errno == EINTR || errno == EAGAIN));
	return n == sizeof error ? error : 0;
}

pid_t program_start(
    char *const *words, const struct program_port *port, const struct program_signals *signals)
{
	int ends[2], error;
	sigset_t old;
	pid_t child;

	if (fd_pipe(ends) == -1)
		return -1;
	/* A signal that comes before the child is the command would be written to our own pipe. */
	signals_block(&old);
	child = fork();
	if (child == 0) {
		become(words, port, signals);
		error = errno;
		/* The other end is ours until that is read. */
		if (write(ends[1], &error, sizeof error) == -1)
			_exit(126);
		_exit(127);
	}
	error = errno;
	signals_unblock(&old);
	fd_close(&ends[1]);
	if (child > 0)
		error = read_error(ends[0]);
	fd_close(&ends[0]);
	if (child > 0 && error == 0)
		return child;
	if (child > 0) {
		while (waitpid(child, NULL, 0) == -1 && errno == EINTR)
			continue;
	}
	errno = error;
	return -1;
}
