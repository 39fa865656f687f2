/* The connection to a control endpoint; see client.h. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "descriptor.h"

#define ADDRESSES_MAX 8 /* of a name, that are tried */
#define TOKEN_MAX 1024

/* ---- waiting ---- */

/* Waits for events. Returns 0, or -1 with errno (ETIMEDOUT). */
static int await(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd waiting = {.fd = fd, .events = events};
		int64_t left = deadline == CLOCK_NEVER ? -1 : deadline - clock_ms();
		int n;

		if (deadline != CLOCK_NEVER && left < 0)
			left = 0;
		n = poll(&waiting, 1, (int)(left > 60000 ? 60000 : left));
		if (n > 0)
			return 0;
		if (n == -1 && errno != EINTR)
			return -1;
		if (n == 0 && deadline != CLOCK_NEVER && clock_ms() >= deadline) {
			errno = ETIMEDOUT;
			return -1;
		}
	}
}

static const char *reason(int error)
{
	return error == ETIMEDOUT ? "no answer in time" : strerror(error);
}

/* ---- connecting ---- */

/* One with a slash, or with nothing of an address, as config_control_address has it. */
static bool is_path(const char *text)
{
	if (*text == '[' || strncmp(text, "unix:", 5) == 0 || strstr(text, "://") != NULL)
		return false;
	return strchr(text, '/') != NULL ||
	    (strchr(text, ':') == NULL && text[strspn(text, "0123456789+-")] != '\0');
}

int client_endpoint(struct address *address, const char *text, const char **why)
{
	char path[ADDRESS_TEXT];

	if (!is_path(text))
		return address_parse(address, text, why);
	if (snprintf(path, sizeof path, "unix:%s", text) < (int)sizeof path)
		return address_parse(address, path, why);
	*why = "the path is too long for a Unix socket (107 bytes)";
	return -1;
}

/* A wildcard is no place to connect to: this machine is meant. */
static void make_connectable(struct address *address)
{
	if (address->form == ADDRESS_ANY) {
		address->form = ADDRESS_INET;
		address->socket = (union address_socket){.in.sin_family = AF_INET};
		address->socket.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		address->socket.in.sin_port = htons((in_port_t)address->port);
		address->length = sizeof address->socket.in;
	}
}

/* Returns a connected descriptor, or -1 with errno. */
static int connect_to(const struct address *address, int64_t deadline)
{
	socklen_t length = sizeof(int);
	int error = 0, on = 1;
	int fd = socket(address->socket.any.sa_family, SOCK_STREAM, 0);

	if (fd == -1)
		return -1;
	if (fd_set_nonblocking(fd) == -1 || fd_set_cloexec(fd, true) == -1)
		goto failed;
	/* EAGAIN: a Unix socket's queue is full. It cannot be waited for, only tried again. */
	while (connect(fd, &address->socket.any, address->length) == -1) {
		if (errno == EAGAIN && clock_ms() < deadline) {
			poll(NULL, 0, 10);
			continue;
		}
		if (errno == EAGAIN)
			errno = ETIMEDOUT;
		if (errno != EINPROGRESS && errno != EINTR)
			goto failed;
		if (await(fd, POLLOUT, deadline) == -1 ||
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
			goto failed;
		errno = error;
		if (error != 0)
			goto failed;
		break;
	}
	if (address->form != ADDRESS_UNIX) {
		/* Lines are short, and whoever waits for days has to learn that the other side is
		 * gone. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	}
	return fd;
failed:
	fd_close(&fd);
	return -1;
}

static int connect_any(
    struct client *client, const struct address *address, int64_t deadline, char *why, size_t size)
{
	struct address found[ADDRESSES_MAX];
	const char *wrong = NULL;
	int count = address_resolve(address, found, ADDRESSES_MAX, &wrong);

	if (count == -1) {
		snprintf(why, size, "%s: %s", client->endpoint, wrong);
		errno = EINVAL;
		return -1;
	}
	errno = EADDRNOTAVAIL;
	for (int i = 0; i < count && client->fd == -1; i++) {
		make_connectable(&found[i]);
		client->fd = connect_to(&found[i], deadline);
		client->peer = found[i].socket;
	}
	if (client->fd != -1)
		return 0;
	if (errno == ENOENT || errno == ECONNREFUSED)
		snprintf(why, size, "no lastcall is running at %s", client->endpoint);
	else
		snprintf(why, size, "%s: %s", client->endpoint, reason(errno));
	return -1;
}

/* ---- the token ---- */

/* The token is the first line of its file. Returns 0, or -1 with why. */
static int read_token(const char *path, char *token, size_t length, char *why, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t got = fd == -1 ? -1 : read(fd, token, length - 1);
	int error = errno;

	fd_close(&fd);
	if (got == -1) {
		snprintf(why, size, "token file %s: %s", path, strerror(error));
		return -1;
	}
	token[got] = '\0';
	token[strcspn(token, "\r\n")] = '\0';
	if (token[0] != '\0' && (size_t)got < length - 1)
		return 0;
	snprintf(why, size, "token file %s: %s", path,
	    token[0] == '\0' ? "it is empty" : "it is too long for a token");
	return -1;
}

static enum client_result show_token(
    struct client *client, const char *path, int64_t deadline, char *why, size_t size)
{
	struct request request = {.length = 0};
	char token[TOKEN_MAX];
	struct reply reply;

	if (path == NULL)
		path = getenv("LASTCALL_TOKEN_FILE");
	if (path == NULL || *path == '\0') {
		snprintf(why, size, "%s wants a token (--token-file FILE, or LASTCALL_TOKEN_FILE)",
		    client->endpoint);
		return CLIENT_MISUSED;
	}
	if (read_token(path, token, sizeof token, why, size) == -1)
		return CLIENT_FAILED;
	request_word(&request, "token");
	request_word(&request, token);
	if (request_end(&request) == -1) {
		snprintf(why, size, "token file %s: it is too long for a token", path);
		return CLIENT_FAILED;
	}
	if (client_send(client, &request, deadline, why, size) == -1 ||
	    client_line(client, &reply, deadline, why, size) == -1)
		return CLIENT_FAILED;
	if (reply.kind == REPLY_OK)
		return CLIENT_OK;
	snprintf(why, size, "%s: ", client->endpoint);
	reply_display(reply.kind == REPLY_ERROR ? reply.text : "an unexpected answer to the token",
	    why + strlen(why), size - strlen(why));
	return CLIENT_FAILED;
}

/* ---- finding ---- */

/* Who is not there may be started instead, if nobody said that it has to be there. */
static bool is_absence(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ECONNREFUSED || error == EACCES;
}

enum client_result client_open(struct client *client, const struct client_place *place,
    int64_t deadline, char *why, size_t size)
{
	const char *text = place->endpoint, *wrong, *named = getenv("LASTCALL_CONTROL");
	bool by_default = text == NULL && (named == NULL || *named == '\0');
	enum client_result result = CLIENT_OK;
	char path[ADDRESS_TEXT];
	struct address address;

	*client = (struct client){.fd = -1};
	if (text == NULL)
		text = config_default_control(path, sizeof path);
	if (text == NULL) {
		snprintf(why, size,
		    "where is the daemon? (-s ENDPOINT, LASTCALL_CONTROL or XDG_RUNTIME_DIR)");
		return CLIENT_ABSENT;
	}
	reply_display(text, client->endpoint, sizeof client->endpoint);
	if (client_endpoint(&address, text, &wrong) == -1) {
		snprintf(why, size, "endpoint \"%s\": %s", client->endpoint, wrong);
		return CLIENT_MISUSED;
	}
	if (address.form == ADDRESS_FD || (address.form != ADDRESS_UNIX && address.port == 0)) {
		snprintf(why, size, "endpoint \"%s\": %s", client->endpoint,
		    address.form == ADDRESS_FD ? "it cannot be connected to" : "port 0 is none");
		return CLIENT_MISUSED;
	}
	client->remote = address.form != ADDRESS_UNIX;
	if (connect_any(client, &address, deadline, why, size) == -1)
		return by_default && is_absence(errno) ? CLIENT_ABSENT : CLIENT_FAILED;
	if (client->remote)
		result = show_token(client, place->token_file, deadline, why, size);
	if (result != CLIENT_OK)
		client_close(client);
	return result;
}

/* ---- lines ---- */

int client_send(
    struct client *client, const struct request *request, int64_t deadline, char *why, size_t size)
{
	size_t sent = 0;

	while (sent < request->length) {
		/* A master that is gone is an error here, and no SIGPIPE. */
		ssize_t n = send(client->fd, request->line + sent, request->length - sent,
		    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		if (n == -1 && errno == EINTR)
			continue;
		/* It may have told why before it closed: that is to be read. */
		if (n == -1 && (errno == EPIPE || errno == ECONNRESET))
			return 0;
		if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK) &&
		    await(client->fd, POLLOUT, deadline) == 0)
			continue;
		snprintf(why, size, "%s: %s", client->endpoint, reason(errno));
		return -1;
	}
	return 0;
}

int client_take(struct client *client, struct reply *reply, char *why, size_t size)
{
	char *from, *end;

	memmove(client->bytes, client->bytes + client->taken, client->length - client->taken);
	client->length -= client->taken;
	client->taken = 0;
	from = client->bytes;
	end = memchr(from, '\n', client->length);
	if (end == NULL && client->length < sizeof client->bytes)
		return 0;
	if (end == NULL || memchr(from, '\0', (size_t)(end - from)) != NULL) {
		snprintf(why, size, "%s: an answer that makes no sense: %s", client->endpoint,
		    end == NULL ? "it is too long" : "it has a NUL");
		return -1;
	}
	client->taken = (size_t)(end - from) + 1;
	if (end > from && end[-1] == '\r')
		end--;
	*end = '\0';
	reply_parse(reply, from);
	if (reply->kind != REPLY_BAD)
		return 1;
	snprintf(why, size, "%s: an answer that makes no sense: %s", client->endpoint, reply->text);
	return -1;
}

int client_fill(struct client *client)
{
	ssize_t n = recv(client->fd, client->bytes + client->length,
	    sizeof client->bytes - client->length, MSG_DONTWAIT);

	if (n > 0)
		client->length += (size_t)n;
	return n > 0 || (n == -1 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK));
}

int client_line(
    struct client *client, struct reply *reply, int64_t deadline, char *why, size_t size)
{
	int result;

	while ((result = client_take(client, reply, why, size)) == 0) {
		if (await(client->fd, POLLIN, deadline) == -1) {
			snprintf(why, size, "%s: %s", client->endpoint, reason(errno));
			return -1;
		}
		if (client_fill(client) == 0) {
			snprintf(why, size, "%s: the connection ended without an answer",
			    client->endpoint);
			return -1;
		}
	}
	return result == 1 ? 0 : -1;
}

void client_close(struct client *client)
{
	fd_close(&client->fd);
}
