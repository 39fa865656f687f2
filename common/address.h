/*
 * Where a listener lives: the address forms that a person writes, and their text again.
 *
 *   8080, *:8080       every address, IPv6 and IPv4 on one dual-stack socket
 *   :0                 the same with a port that the kernel chooses
 *   0.0.0.0:8080       every IPv4 address          127.0.0.1:8080   one IPv4 address
 *   [::]:8080          every IPv6 address, IPv6 only     [::1]:8080 one IPv6 address
 *   localhost:8080     every address that the name resolves to
 *   unix:/path         a Unix stream socket
 *   fd:NAME            a socket passed by a service manager
 *
 * A relative Unix path starts from the current folder, and in a file from the folder of that file
 * (config_listen.c puts it in front); it is kept absolute.
 *
 * A caller parses once (no look-up), then resolves (may ask the resolver), then binds.
 */
#ifndef LASTCALL_ADDRESS_H
#define LASTCALL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

enum address_form {
	ADDRESS_ANY, /* dual-stack wildcard; falls back to IPv4 where there is no IPv6 */
	ADDRESS_INET, /* a literal IPv4 or IPv6 address; IPv6 is bound V6ONLY */
	ADDRESS_NAME, /* host:port, to be resolved */
	ADDRESS_UNIX, /* unix:/path */
	ADDRESS_FD, /* fd:NAME */
};

union address_socket {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

#define ADDRESS_TEXT 280 /* the longest text, a name of 255 bytes with its port, and its NUL */

struct address {
	enum address_form form;
	unsigned port; /* 0: the kernel's choice */
	char text[ADDRESS_TEXT]; /* as a person wrote it; a Unix path made absolute */
	char name[256]; /* ADDRESS_NAME: the host; ADDRESS_FD: the descriptor's name */
	union address_socket socket; /* filled for ANY, INET and UNIX; for NAME by resolving */
	socklen_t length; /* of socket, 0 while unresolved */
};

/*
 * Reads text into *address. Returns 0, or -1 with *why set to a constant sentence without the
 * text ("port 70000 is above 65535" becomes "the port is above 65535"); *address is then unchanged.
 */
int address_parse(struct address *address, const char *text, const char **why);

/*
 * Whether both are the same address: same form, host, path or name, and port. Names are not looked
 * up. Two equal addresses with port 0 are different sockets all the same.
 */
bool address_equal(const struct address *a, const struct address *b);

/*
 * Whether the one address is part of the other, so that only one of them can be bound: the wildcard
 * of every address and anything with its port, or the wildcard of a family (IPv6 is bound V6ONLY)
 * and an address of that family. What a name stands for is only known to be part of every address.
 * Port 0 is part of nothing.
 */
bool address_overlaps(const struct address *a, const struct address *b);

/*
 * Resolves a parsed address to what can be bound: itself for every form but ADDRESS_NAME, which
 * yields one ADDRESS_INET for each address of the name (only the first when the port is 0, for
 * the kernel would choose a different one for each). Writes at most max entries to out, returns
 * their number, or -1 with *why set (constant text of the resolver). The text of a resolved entry
 * is the literal address.
 */
int address_resolve(const struct address *address, struct address *out, int max, const char **why);

/*
 * Writes a socket address as a person writes it: "127.0.0.1:80", "[::1]:80", "*:80" when dual is
 * true and the address is the IPv6 wildcard, "unix:/path" (an unnamed peer is "unix:"). An
 * IPv4-mapped IPv6 address is written as IPv4. Always NUL-terminated; returns out.
 */
const char *address_format(
    const union address_socket *socket, socklen_t length, bool dual, char *out, size_t size);

/* The host alone, for logs: "127.0.0.1", "::1", "unix:". Always NUL-terminated; returns out. */
const char *address_host(const union address_socket *socket, char *out, size_t size);

/* The port in host order; 0 for a Unix socket. */
unsigned address_port(const union address_socket *socket);

#endif
