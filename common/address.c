/*
 * Reads and writes the forms of an address. Parsing asks nobody: no resolver, no file system.
 */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads a whole text as a port. Returns NULL or what is wrong. */
static const char *parse_port(const char *text, unsigned *port)
{
	unsigned value = 0;

	if (*text == '\0')
		return "the port is missing after \":\"";
	for (const char *c = text; *c != '\0'; c++) {
		if (!is_digit(*c))
			return "the port is not a number";
		if (value <= 65535)
			value = value * 10 + (unsigned)(*c - '0');
	}
	if (value > 65535)
		return "the port is above 65535";
	*port = value;
	return NULL;
}

static void set_any(struct address *address)
{
	address->form = ADDRESS_ANY;
	address->socket.in6.sin6_family = AF_INET6;
	address->socket.in6.sin6_port = htons((in_port_t)address->port);
	address->length = sizeof(address->socket.in6);
}

static const char *parse_inet(struct address *address, const char *host)
{
	struct sockaddr_in *in = &address->socket.in;

	if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
		return "not an IPv4 address (four numbers from 0 to 255)";
	in->sin_family = AF_INET;
	in->sin_port = htons((in_port_t)address->port);
	address->form = ADDRESS_INET;
	address->length = sizeof(*in);
	return NULL;
}

/* `[host]:port`; text begins with the bracket. */
static const char *parse_bracketed(struct address *address, const char *text)
{
	struct sockaddr_in6 *in6 = &address->socket.in6;
	const char *close = strchr(text, ']');
	char host[INET6_ADDRSTRLEN] = "";

	if (close == NULL)
		return "a \"]\" is missing";
	if (close[1] == '\0')
		return "a port is missing, as in [::1]:8080";
	if (close[1] != ':')
		return "after \"]\" comes \":\" and a port";
	size_t length = (size_t)(close - text) - 1;

	if (length < sizeof(host))
		memcpy(host, text + 1, length);
	if (strchr(host, '%') != NULL)
		return "an IPv6 address with a zone (\"%\") is not supported";
	if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
		return "not an IPv6 address in the brackets";
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return "write an IPv4 address without brackets";
	const char *why = parse_port(close + 2, &address->port);

	if (why != NULL)
		return why;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((in_port_t)address->port);
	address->form = ADDRESS_INET;
	address->length = sizeof(*in6);
	return NULL;
}

/* The absolute path in sun_path; a relative one starts from the current folder. */
static const char *parse_unix(struct address *address, const char *path)
{
	struct sockaddr_un *un = &address->socket.un;
	char folder[sizeof(un->sun_path)] = "";

	if (*path == '\0')
		return "the path is missing after \"unix:\"";
	if (*path == '@')
		return "an abstract socket (\"@\") is not supported; write a path";
	if (path[strlen(path) - 1] == '/')
		return "the path of a Unix socket cannot end in \"/\"";
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	if (*path != '/' && getcwd(folder, sizeof(folder)) == NULL)
		return errno == ERANGE
		    ? "the path is too long for a Unix socket"
		    : "the current folder cannot be read; write an absolute path";
	bool slash = *folder != '\0' && strcmp(folder, "/") != 0; /* "/" brings its own */
	int length =
	    snprintf(un->sun_path, sizeof(un->sun_path), "%s%s%s", folder, slash ? "/" : "", path);

	if ((size_t)length >= sizeof(un->sun_path))
		return "the path is too long for a Unix socket (107 bytes)";
	un->sun_family = AF_UNIX;
	snprintf(address->text, sizeof(address->text), "unix:%s", un->sun_path);
	address->form = ADDRESS_UNIX;
	address->length = sizeof(*un);
	return NULL;
}

/* The name that a service manager gave to a descriptor (sd_listen_fds(3), FileDescriptorName=). */
static const char *parse_fd(struct address *address, const char *name)
{
	size_t length = strlen(name);

	if (length == 0)
		return "the name is missing after \"fd:\"";
	if (length >= sizeof(address->name))
		return "the name of a descriptor is longer than 255 bytes";
	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == ':')
			return "the name of a descriptor is printable ASCII without \":\"";
	memcpy(address->name, name, length + 1);
	address->form = ADDRESS_FD;
	return NULL;
}

/* A host before its port: a literal IPv4 address or a name. */
static const char *parse_host(struct address *address, const char *host)
{
	size_t length = strlen(host);

	if (host[strspn(host, "0123456789.")] == '\0')
		return parse_inet(address, host);
	if (length >= sizeof(address->name))
		return "the name of the host is longer than 255 bytes";
	for (size_t i = 0; i < length; i++)
		if (!is_digit(host[i]) && !is_letter(host[i]) && strchr("._", host[i]) == NULL &&
		    (host[i] != '-' || i == 0))
			return "not a name of a host; letters, digits, \".\" and \"-\" are allowed";
	memcpy(address->name, host, length + 1);
	address->form = ADDRESS_NAME;
	return NULL;
}

/* `PORT`, `:PORT`, `*:PORT`, `a.b.c.d:PORT`, `name:PORT`. */
static const char *parse_host_port(struct address *address, const char *text)
{
	const char *colon = strchr(text, ':');
	char host[ADDRESS_TEXT] = "";

	if (colon == NULL) {
		bool number = is_digit(text[0]) || text[0] == '-' || text[0] == '+';

		if (!number || strchr(text, '.') != NULL)
			return "a port is missing, as in localhost:8080";
		const char *why = parse_port(text, &address->port);

		if (why == NULL)
			set_any(address);
		return why;
	}
	if (strncmp(colon, "://", 3) == 0)
		return "this is a URL; write host:port, as in localhost:8080";
	if (strchr(colon + 1, ':') != NULL)
		return "put an IPv6 address in brackets, as in [::1]:8080";
	const char *why = parse_port(colon + 1, &address->port);

	if (why != NULL)
		return why;
	memcpy(host, text, (size_t)(colon - text));
	if (host[0] != '\0' && strcmp(host, "*") != 0)
		return parse_host(address, host);
	set_any(address);
	return NULL;
}

static const char *parse(struct address *address, const char *text)
{
	size_t length = strlen(text);

	if (length == 0)
		return "it is empty";
	if (length >= sizeof(address->text))
		return "it is too long";
	memcpy(address->text, text, length + 1);
	if (strncmp(text, "unix:", 5) == 0)
		return parse_unix(address, text + 5);
	if (strncmp(text, "fd:", 3) == 0)
		return parse_fd(address, text + 3);
	if (strchr(text, '/') != NULL && strstr(text, "://") == NULL)
		return "a Unix socket is written unix:/path";
	if (text[0] == '[')
		return parse_bracketed(address, text);
	return parse_host_port(address, text);
}

int address_parse(struct address *address, const char *text, const char **why)
{
	struct address read = {.length = 0};
	const char *wrong = parse(&read, text);

	if (wrong != NULL) {
		*why = wrong;
		return -1;
	}
	*address = read;
	return 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
	if (a->form != b->form || a->port != b->port)
		return false;
	switch (a->form) {
	case ADDRESS_ANY:
		return true;
	case ADDRESS_INET:
		if (a->socket.any.sa_family != b->socket.any.sa_family)
			return false;
		if (a->socket.any.sa_family == AF_INET)
			return a->socket.in.sin_addr.s_addr == b->socket.in.sin_addr.s_addr;
		return IN6_ARE_ADDR_EQUAL(&a->socket.in6.sin6_addr, &b->socket.in6.sin6_addr);
	case ADDRESS_NAME:
		return strcasecmp(a->name, b->name) == 0;
	case ADDRESS_UNIX:
		return strcmp(a->socket.un.sun_path, b->socket.un.sun_path) == 0;
	case ADDRESS_FD:
		return strcmp(a->name, b->name) == 0;
	}
	return false;
}

/* Whether it is the wildcard of its family. */
static bool is_wildcard(const union address_socket *s)
{
	return s->any.sa_family == AF_INET ? s->in.sin_addr.s_addr == htonl(INADDR_ANY)
					   : IN6_IS_ADDR_UNSPECIFIED(&s->in6.sin6_addr);
}

bool address_overlaps(const struct address *a, const struct address *b)
{
	if (a->form > ADDRESS_NAME || b->form > ADDRESS_NAME || a->port != b->port || a->port == 0)
		return false;
	if (a->form == ADDRESS_ANY || b->form == ADDRESS_ANY)
		return a->form != b->form;
	if (a->form != ADDRESS_INET || b->form != ADDRESS_INET ||
	    a->socket.any.sa_family != b->socket.any.sa_family)
		return false;
	return is_wildcard(&a->socket) != is_wildcard(&b->socket);
}

/* Makes *out from one answer of the resolver. Returns false for what is no IP address. */
static bool from_answer(struct address *out, const struct addrinfo *answer, unsigned port)
{
	struct address made = {.form = ADDRESS_INET, .port = port};

	if (answer->ai_family == AF_INET) {
		memcpy(&made.socket.in, answer->ai_addr, sizeof(made.socket.in));
		made.socket.in.sin_port = htons((in_port_t)port);
		made.length = sizeof(made.socket.in);
	} else if (answer->ai_family == AF_INET6) {
		memcpy(&made.socket.in6, answer->ai_addr, sizeof(made.socket.in6));
		made.socket.in6.sin6_port = htons((in_port_t)port);
		made.length = sizeof(made.socket.in6);
	} else {
		return false;
	}
	address_format(&made.socket, made.length, false, made.text, sizeof(made.text));
	*out = made;
	return true;
}

static bool is_among(const struct address *address, const struct address *list, int count)
{
	for (int i = 0; i < count; i++)
		if (address_equal(address, &list[i]))
			return true;
	return false;
}

int address_resolve(const struct address *address, struct address *out, int max, const char **why)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *answers = NULL;
	int count = 0;

	if (max < 1)
		return 0;
	if (address->form != ADDRESS_NAME) {
		*out = *address;
		return 1;
	}
	if (address->port == 0)
		max = 1;
	int failed = getaddrinfo(address->name, NULL, &hints, &answers);

	if (failed != 0) {
		*why = failed == EAI_SYSTEM ? strerror(errno) : gai_strerror(failed);
		return -1;
	}
	for (struct addrinfo *a = answers; a != NULL && count < max; a = a->ai_next) {
		struct address one;

		if (from_answer(&one, a, address->port) && !is_among(&one, out, count))
			out[count++] = one;
	}
	freeaddrinfo(answers);
	if (count > 0)
		return count;
	*why = "the name has no IP address";
	return -1;
}

/* An IPv4-mapped address is one IPv4 client on a dual-stack socket; people know it as IPv4. */
static const char *inet_text(const union address_socket *s, char host[INET6_ADDRSTRLEN])
{
	const void *bytes = &s->in6.sin6_addr;
	int family = s->any.sa_family;

	if (family == AF_INET) {
		bytes = &s->in.sin_addr;
	} else if (IN6_IS_ADDR_V4MAPPED(&s->in6.sin6_addr)) {
		bytes = s->in6.sin6_addr.s6_addr + 12;
		family = AF_INET;
	}
	return inet_ntop(family, bytes, host, INET6_ADDRSTRLEN);
}

static void format_unix(const struct sockaddr_un *un, socklen_t length, char *out, size_t size)
{
	size_t start = offsetof(struct sockaddr_un, sun_path);
	size_t left = length > start ? length - start : 0;

	if (left > sizeof(un->sun_path))
		left = sizeof(un->sun_path);
	if (left > 1 && un->sun_path[0] == '\0')
		snprintf(out, size, "unix:@%.*s", (int)(left - 1), un->sun_path + 1);
	else
		snprintf(out, size, "unix:%.*s", (int)left, un->sun_path);
}

const char *address_format(
    const union address_socket *socket, socklen_t length, bool dual, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN];
	unsigned port = address_port(socket);

	if (length < sizeof(socket->any.sa_family)) {
		snprintf(out, size, "unknown");
	} else if (socket->any.sa_family == AF_UNIX) {
		format_unix(&socket->un, length, out, size);
	} else if (socket->any.sa_family == AF_INET) {
		snprintf(out, size, "%s:%u", inet_text(socket, host), port);
	} else if (socket->any.sa_family != AF_INET6) {
		snprintf(out, size, "unknown");
	} else if (dual && IN6_IS_ADDR_UNSPECIFIED(&socket->in6.sin6_addr)) {
		snprintf(out, size, "*:%u", port);
	} else {
		bool mapped = IN6_IS_ADDR_V4MAPPED(&socket->in6.sin6_addr);

		snprintf(out, size, mapped ? "%s:%u" : "[%s]:%u", inet_text(socket, host), port);
	}
	return out;
}

const char *address_host(const union address_socket *socket, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN];

	switch (socket->any.sa_family) {
	case AF_INET:
	case AF_INET6:
		snprintf(out, size, "%s", inet_text(socket, host));
		break;
	case AF_UNIX:
		snprintf(out, size, "unix:");
		break;
	default:
		snprintf(out, size, "unknown");
	}
	return out;
}

unsigned address_port(const union address_socket *socket)
{
	switch (socket->any.sa_family) {
	case AF_INET:
		return ntohs(socket->in.sin_port);
	case AF_INET6:
		return ntohs(socket->in6.sin6_port);
	default:
		return 0;
	}
}
