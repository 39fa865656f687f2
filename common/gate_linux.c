/*
 * The gate of Linux; see gate.h. The numbers and structures of the kernel's interfaces are declared
 * here, because a build with musl has no <linux/…> headers. Sources: socket(7), ip(7),
 * sock_diag(7), tcp(7), packet(7).
 */
#include "gate.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "address.h"

#ifndef SO_ATTACH_FILTER
#define SO_ATTACH_FILTER 26
#endif
#ifndef SO_DETACH_FILTER
#define SO_DETACH_FILTER 27
#endif
#ifndef SO_ATTACH_BPF
#define SO_ATTACH_BPF 50
#endif
#ifndef IP_MINTTL
#define IP_MINTTL 21
#endif
#define MIN_HOP_COUNT 73 /* IPV6_MINHOPCOUNT */

/* linux/filter.h: a classic BPF program. */
struct filter_step {
	uint16_t code;
	uint8_t jump_true, jump_false;
	uint32_t operand;
};
struct filter_program {
	unsigned short length;
	const struct filter_step *steps;
};

/* linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, linux/unix_diag.h. */
#define NETLINK_SOCK_DIAG 4
#define TCP_DIAG 18 /* TCPDIAG_GETSOCK */
#define SOCK_DIAG_BY_FAMILY 20
#define MESSAGE_ERROR 2 /* NLMSG_ERROR */
#define MESSAGE_DONE 3 /* NLMSG_DONE */
#define REQUEST_FLAG 0x001 /* NLM_F_REQUEST */
#define REQUEST_DUMP 0x300 /* NLM_F_DUMP */
#define STATE_SYN_RECV (1u << 3)
#define UNIX_SHOW_QUEUE 0x10 /* UDIAG_SHOW_RQLEN */
#define UNIX_QUEUE 4 /* UNIX_DIAG_RQLEN */

struct netlink_header {
	uint32_t length;
	uint16_t type, flags;
	uint32_t sequence, port;
};
struct netlink_address {
	uint16_t family, pad;
	uint32_t port, groups;
};
struct inet_socket_id {
	uint16_t source_port, target_port; /* network order */
	uint32_t source[4], target[4];
	uint32_t interface;
	uint32_t cookie[2];
};
struct inet_request { /* inet_diag_req, the older form: it asks for both families at once */
	struct netlink_header header;
	uint8_t family, source_length, target_length, extensions;
	struct inet_socket_id id;
	uint32_t states, debug;
};
struct inet_answer {
	struct netlink_header header;
	uint8_t family, state, timer, retransmits;
	struct inet_socket_id id;
	uint32_t expires, receive_queue, send_queue, uid, inode;
};
struct unix_request {
	struct netlink_header header;
	uint8_t family, protocol;
	uint16_t pad;
	uint32_t states, inode, show;
	uint32_t cookie[2];
};
struct unix_answer {
	struct netlink_header header;
	uint8_t family, type, state, pad;
	uint32_t inode;
	uint32_t cookie[2];
};
struct netlink_attribute {
	uint16_t length, type;
};

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof value);
}

enum gate_way gate_set_exact(int listener, int filter)
{
	/* Offset 0 is the TCP header; byte 13 has the flags: SYN (0x02) without ACK (0x10) is
	 * dropped. */
	static const struct filter_step steps[] = {
	    {0x30, 0, 0, 13}, /* load byte [13] */
	    {0x54, 0, 0, 0x12}, /* and SYN | ACK */
	    {0x15, 0, 1, 0x02}, /* equal to SYN alone? */
	    {0x06, 0, 0, 0}, /* drop */
	    {0x06, 0, 0, UINT32_MAX}, /* keep whole */
	};
	const struct filter_program program = {sizeof steps / sizeof steps[0], steps};

	if (filter >= 0 && set_int(listener, SOL_SOCKET, SO_ATTACH_BPF, filter) == 0)
		return GATE_FILTER;
	return setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0
	    ? GATE_FILTER
	    : GATE_NONE;
}

bool gate_exact_is_permitted(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool permitted = fd >= 0 && gate_set_exact(fd, -1) == GATE_FILTER;

	if (fd >= 0)
		close(fd);
	return permitted;
}

enum gate_way gate_set(int listener, enum listener_kind kind, int filter)
{
	int v4, v6;

	if (kind == LISTENER_UNIX)
		return shutdown(listener, SHUT_RD) == 0 ? GATE_SHUTDOWN : GATE_NONE;
	if (gate_set_exact(listener, filter) == GATE_FILTER)
		return GATE_FILTER;
	v4 = set_int(listener, IPPROTO_IP, IP_MINTTL, 255);
	v6 = set_int(listener, IPPROTO_IPV6, MIN_HOP_COUNT, 255);
	return v4 == 0 || v6 == 0 ? GATE_MINTTL : GATE_NONE;
}

/*
 * Sets a minimum back to none. Returns 0, also where the socket knows no such minimum, or -1 with
 * errno: it is still there.
 */
static int clear_minimum(int listener, int level, int name)
{
	int value = 0, error;
	socklen_t length = sizeof value;

	if (set_int(listener, level, name, 0) == 0)
		return 0;
	error = errno;
	if (getsockopt(listener, level, name, &value, &length) == -1 || value == 0)
		return 0;
	errno = error;
	return -1;
}

int gate_clear(int listener, enum gate_way way, int backlog)
{
	(void)backlog;
	switch (way) {
	case GATE_NONE:
		return 0;
	case GATE_FILTER:
		return set_int(listener, SOL_SOCKET, SO_DETACH_FILTER, 0);
	case GATE_MINTTL:
		/* Both: half a gate on a dual-stack socket would shut out half of the clients. */
		if (clear_minimum(listener, IPPROTO_IP, IP_MINTTL) == -1)
			return -1;
		return clear_minimum(listener, IPPROTO_IPV6, MIN_HOP_COUNT);
	default:
		errno = EOPNOTSUPP;
		return -1;
	}
}

void gate_admit(int connection)
{
	set_int(connection, IPPROTO_IP, IP_MINTTL, 0);
	set_int(connection, IPPROTO_IPV6, MIN_HOP_COUNT, 0);
}

/* Called with each answer. */
typedef void hear_function(const struct netlink_header *answer, void *to);

/* Asks the kernel one question and hears its answers. Returns 0, or -1 with errno. */
static int ask(const void *request, size_t length, hear_function *hear, void *to)
{
	const struct netlink_address kernel = {.family = AF_NETLINK};
	_Alignas(struct netlink_header) char answers[32768];
	int result = -1;
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd == -1)
		return -1;
	if (sendto(fd, request, length, 0, (const void *)&kernel, sizeof kernel) == -1)
		goto out;
	for (;;) {
		ssize_t got = recv(fd, answers, sizeof answers, 0);
		size_t at = 0;

		if (got == -1 && errno == EINTR)
			continue;
		if (got <= 0)
			goto out;
		while (at + sizeof(struct netlink_header) <= (size_t)got) {
			const struct netlink_header *answer = (const void *)(answers + at);

			if (answer->length < sizeof *answer || answer->length > (size_t)got - at)
				goto out;
			if (answer->type == MESSAGE_ERROR)
				goto out;
			if (answer->type == MESSAGE_DONE) {
				result = 0;
				goto out;
			}
			hear(answer, to);
			if (!(((const struct netlink_header *)request)->flags &
				0x200 /* a dump */)) {
				result = 0; /* one socket was asked for, and this is it */
				goto out;
			}
			at += (answer->length + 3) & ~3u;
		}
	}
out:
	close(fd);
	return result;
}

static void hear_queue(const struct netlink_header *header, void *to)
{
	const char *at = (const char *)header + sizeof(struct unix_answer);
	const char *end = (const char *)header + header->length;

	while (at + sizeof(struct netlink_attribute) <= end) {
		struct netlink_attribute attribute;
		uint32_t queued;

		memcpy(&attribute, at, sizeof attribute);
		if (attribute.length < sizeof attribute || attribute.length > end - at)
			return;
		if (attribute.type == UNIX_QUEUE &&
		    attribute.length >= sizeof attribute + sizeof queued) {
			memcpy(&queued, at + sizeof attribute, sizeof queued);
			*(int *)to = (int)queued;
		}
		at += (attribute.length + 3) & ~3u;
	}
}

static int unix_queue(int listener)
{
	struct unix_request request = {
	    .header = {sizeof request, SOCK_DIAG_BY_FAMILY, REQUEST_FLAG, 1, 0},
	    .family = AF_UNIX,
	    .states = UINT32_MAX,
	    .show = UNIX_SHOW_QUEUE,
	    .cookie = {UINT32_MAX, UINT32_MAX},
	};
	struct stat info;
	int queued = 0;

	if (fstat(listener, &info) == -1)
		return -1;
	request.inode = (uint32_t)info.st_ino;
	return ask(&request, sizeof request, hear_queue, &queued) == -1 ? -1 : queued;
}

int gate_queue(int listener, enum listener_kind kind)
{
	struct tcp_info info;
	socklen_t length = sizeof info;

	if (kind == LISTENER_UNIX)
		return unix_queue(listener);
	if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &length) == -1)
		return -1;
	return (int)info.tcpi_unacked; /* of a listening socket: the length of its queue */
}

static void hear_handshake(const struct netlink_header *header, void *to)
{
	const struct inet_answer *answer = (const void *)header;
	struct gate_census *census = to;

	if (header->length < sizeof *answer)
		return;
	if (census->count < GATE_CENSUS_MAX) {
		struct gate_handshake *handshake = &census->all[census->count];

		handshake->family = answer->family;
		handshake->port = answer->id.source_port;
		memcpy(handshake->address, answer->id.source, sizeof handshake->address);
	}
	census->count++;
}

static void take_census(struct gate_census *census)
{
	const struct inet_request request = {
	    .header = {sizeof request, TCP_DIAG, REQUEST_FLAG | REQUEST_DUMP, 1, 0},
	    .states = STATE_SYN_RECV,
	};

	census->count = 0;
	if (ask(&request, sizeof request, hear_handshake, census) == -1)
		census->count = -1;
	census->taken = true;
}

/* Whether a handshake's local address is the listener's: a wildcard has every one. */
static bool is_on(const struct gate_handshake *handshake, const union address_socket *local)
{
	const uint32_t *address = handshake->address;

	if (handshake->port != htons((uint16_t)address_port(local)))
		return false;
	if (local->any.sa_family == AF_INET) {
		uint32_t want = local->in.sin_addr.s_addr;
		bool is_mapped = address[0] == 0 && address[1] == 0 && address[2] == htonl(0xffff);

		if (want == htonl(INADDR_ANY))
			return true;
		return handshake->family == AF_INET ? address[0] == want
						    : is_mapped && address[3] == want;
	}
	if (IN6_IS_ADDR_UNSPECIFIED(&local->in6.sin6_addr))
		return true;
	return handshake->family == AF_INET6 &&
	    memcmp(address, &local->in6.sin6_addr, sizeof local->in6.sin6_addr) == 0;
}

int gate_handshakes(int listener, enum listener_kind kind, struct gate_census *census)
{
	union address_socket local;
	socklen_t length = sizeof local;
	int count = 0;

	if (kind == LISTENER_UNIX) /* none, but an uncounted queue is like an uncounted handshake */
		return unix_queue(listener) < 0 ? -1 : 0;
	if (getsockname(listener, &local.any, &length) == -1)
		return -1;
	if (!census->taken)
		take_census(census);
	if (census->count <= 0)
		return census->count;
	if (census->count > GATE_CENSUS_MAX)
		return census->count;
	for (int i = 0; i < census->count; i++)
		count += is_on(&census->all[i], &local);
	return count;
}
