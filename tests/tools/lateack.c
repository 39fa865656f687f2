/*
 * lateack: a client whose handshake is slow, made by hand from packets, so that a test can do
 * something to the server between its SYN-ACK and the last ACK.
 *
 *   lateack INTERFACE MAC SOURCE TARGET PORT ACK_MS [REQUEST_MS [LIMIT_MS]]
 *
 * It sends a SYN, prints "syn-ack" when that is answered, sends the ACK after ACK_MS ("never": not
 * at all) and a request for / REQUEST_MS later, again and again until it is acknowledged, as TCP
 * does. Then it prints how it ended, after LIMIT_MS (10 s) at the latest:
 *
 *   answered   a whole response of status 200     refused   the SYN met a reset
 *   other      some other response                dropped   the SYN met nothing
 *   ended      end of connection, no byte         silence   nothing more came after the SYN-ACK
 *   reset      a reset after the SYN-ACK
 *
 * MAC is the server's. SOURCE is an address that no kernel owns, or the client's kernel would reset
 * what it has not begun; the server's side needs a neighbour entry for it. Wants root. The packets
 * have the TTL of an ordinary client. Sources: RFC 9293, RFC 1071, packet(7).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum { TTL = 64, TCP_HEADER = 20, SYN_AGAIN_MS = 1000, REQUEST_AGAIN_MS = 200 };

#define NEVER INT64_MAX

static const char request[] = "GET / HTTP/1.1\r\nHost: late\r\nConnection: close\r\n\r\n";

/* SYN_SENT --SYN-ACK--> HALF_OPEN --ACK_MS--> CONNECTED --REQUEST_MS--> ASKED */
enum state { SYN_SENT, HALF_OPEN, CONNECTED, ASKED };

struct flow {
	int fd;
	struct sockaddr_ll to;
	bool v6;
	uint8_t source[16], target[16];
	uint16_t source_port, target_port;
	uint32_t sent; /* sequence number of our next byte */
	uint32_t expected; /* sequence number of their next byte */
	enum state state;
	int64_t due; /* ms: when we act next */
	char answer[16]; /* how the response begins */
	size_t answered;
};

struct segment {
	uint32_t sequence, acknowledged;
	unsigned flags;
	const uint8_t *data;
	size_t length;
};

static void die(const char *what)
{
	fprintf(stderr, "lateack: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* Adds bytes to a checksum; an odd last one counts as the high half. */
static uint32_t add(uint32_t sum, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += get16(bytes + i);
	return length % 2 ? sum + ((unsigned)bytes[length - 1] << 8) : sum;
}

static unsigned fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* Writes the IP header; returns its length. */
static size_t put_ip(const struct flow *flow, uint8_t *packet, size_t length)
{
	if (flow->v6) {
		packet[0] = 0x60;
		put16(packet + 4, (unsigned)length);
		packet[6] = IPPROTO_TCP;
		packet[7] = TTL;
		memcpy(packet + 8, flow->source, 16);
		memcpy(packet + 24, flow->target, 16);
		return 40;
	}
	packet[0] = 0x45;
	put16(packet + 2, (unsigned)length + 20);
	packet[8] = TTL;
	packet[9] = IPPROTO_TCP;
	memcpy(packet + 12, flow->source, 4);
	memcpy(packet + 16, flow->target, 4);
	put16(packet + 10, fold(add(0, packet, 20)));
	return 20;
}

static void send_segment(const struct flow *flow, unsigned flags, const char *text)
{
	uint8_t packet[512] = {0};
	size_t length = strlen(text), size = flow->v6 ? 16 : 4;
	uint8_t *tcp = packet + put_ip(flow, packet, TCP_HEADER + length);

	put16(tcp, flow->source_port);
	put16(tcp + 2, flow->target_port);
	put32(tcp + 4, flow->sent);
	put32(tcp + 8, flags & ACK ? flow->expected : 0);
	tcp[12] = TCP_HEADER / 4 << 4;
	tcp[13] = (uint8_t)flags;
	put16(tcp + 14, 65535);
	memcpy(tcp + TCP_HEADER, text, length);
	length += TCP_HEADER;
	/* The pseudo header: both addresses, the protocol, the length. */
	uint32_t sum = add(add(0, flow->source, size), flow->target, size);

	sum = add(sum + IPPROTO_TCP + (uint32_t)length, tcp, length);
	put16(tcp + 16, fold(sum));
	length += (size_t)(tcp - packet);
	if (sendto(flow->fd, packet, length, 0, (const void *)&flow->to, sizeof flow->to) == -1)
		die("send");
}

/* Whether a packet is a segment of this flow; fills *segment, which points into it. */
static bool parse(
    const struct flow *flow, const uint8_t *packet, size_t got, struct segment *segment)
{
	size_t header = flow->v6 ? 40 : 20, size = flow->v6 ? 16 : 4;
	const uint8_t *from = packet + (flow->v6 ? 8 : 12);
	const uint8_t *tcp = packet + header;

	if (got < header + TCP_HEADER || packet[0] >> 4 != (flow->v6 ? 6 : 4) ||
	    packet[flow->v6 ? 6 : 9] != IPPROTO_TCP || memcmp(from, flow->target, size) != 0 ||
	    memcmp(from + size, flow->source, size) != 0 || get16(tcp) != flow->target_port ||
	    get16(tcp + 2) != flow->source_port)
		return false;
	/* What the interface padded is not data. */
	size_t whole = flow->v6 ? get16(packet + 4) + header : get16(packet + 2);
	size_t start = header + (size_t)(tcp[12] >> 4) * 4;

	if (whole > got || start > whole)
		return false;
	*segment = (struct segment){
	    .sequence = get32(tcp + 4),
	    .acknowledged = get32(tcp + 8),
	    .flags = tcp[13],
	    .data = packet + start,
	    .length = whole - start,
	};
	return true;
}

/* Waits for a segment until a moment. The segment lives until the next call. */
static bool receive(const struct flow *flow, struct segment *segment, int64_t until)
{
	static uint8_t packet[65536];

	for (;;) {
		struct pollfd in = {.fd = flow->fd, .events = POLLIN};
		int64_t left = until - now_ms();
		int ready = poll(&in, 1, left > 0 ? (int)left : 0);

		if (ready == -1 && errno != EINTR)
			die("poll");
		if (ready == 0)
			return false;
		ssize_t got = recv(flow->fd, packet, sizeof packet, MSG_DONTWAIT);

		if (got > 0 && parse(flow, packet, (size_t)got, segment))
			return true;
	}
}

/* Does what is due in this state. */
static void act(struct flow *flow, int64_t request_ms)
{
	switch (flow->state) {
	case SYN_SENT:
		send_segment(flow, SYN, "");
		flow->due += SYN_AGAIN_MS;
		break;
	case HALF_OPEN:
		send_segment(flow, ACK, "");
		flow->state = CONNECTED;
		flow->due += request_ms;
		break;
	case CONNECTED:
	case ASKED:
		send_segment(flow, ACK | PSH, request);
		flow->state = ASKED;
		flow->due += REQUEST_AGAIN_MS;
		break;
	}
}

/* Takes what they sent. Returns how it ended, or NULL. */
static const char *take(struct flow *flow, const struct segment *segment, int64_t ack_ms)
{
	if (segment->flags & RST)
		return flow->state == SYN_SENT ? "refused" : "reset";
	if (flow->state == SYN_SENT && segment->flags & SYN) {
		flow->expected = segment->sequence + 1;
		flow->sent++;
		flow->state = HALF_OPEN;
		flow->due = ack_ms < 0 ? NEVER : now_ms() + ack_ms;
		puts("syn-ack");
		fflush(stdout);
		return NULL;
	}
	if (flow->state == ASKED && segment->acknowledged == flow->sent + sizeof request - 1) {
		flow->sent = segment->acknowledged;
		flow->due = NEVER;
	}
	if (flow->state < CONNECTED)
		return NULL;
	bool fresh = segment->sequence == flow->expected && !(segment->flags & SYN);

	for (size_t i = 0; fresh && i < segment->length; i++, flow->expected++)
		if (flow->answered < sizeof flow->answer - 1)
			flow->answer[flow->answered++] = (char)segment->data[i];
	if (fresh && segment->flags & FIN) {
		flow->expected++;
		send_segment(flow, ACK | FIN, "");
		return flow->answered == 0                           ? "ended"
		    : strncmp(flow->answer, "HTTP/1.1 200", 12) == 0 ? "answered"
								     : "other";
	}
	if (segment->length > 0 || segment->flags & (SYN | FIN))
		send_segment(flow, ACK, "");
	return NULL;
}

static void open_flow(struct flow *flow, char **argv)
{
	unsigned mac[6];

	flow->v6 = strchr(argv[3], ':') != NULL;
	int family = flow->v6 ? AF_INET6 : AF_INET;

	flow->to = (struct sockaddr_ll){
	    .sll_family = AF_PACKET,
	    .sll_protocol = htons(flow->v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP),
	    .sll_ifindex = (int)if_nametoindex(argv[1]),
	    .sll_halen = 6,
	};
	if (flow->to.sll_ifindex == 0)
		die(argv[1]);
	if (sscanf(argv[2], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		&mac[5]) != 6 ||
	    inet_pton(family, argv[3], flow->source) != 1 ||
	    inet_pton(family, argv[4], flow->target) != 1) {
		errno = EINVAL;
		die("an address");
	}
	for (int i = 0; i < 6; i++)
		flow->to.sll_addr[i] = (unsigned char)mac[i];
	flow->target_port = (uint16_t)atoi(argv[5]);
	flow->source_port = (uint16_t)(32768 + getpid() % 28000);
	flow->sent = (uint32_t)now_ms() * 64;
	flow->fd = socket(AF_PACKET, SOCK_DGRAM, 0);
	if (flow->fd == -1 || bind(flow->fd, (const void *)&flow->to, sizeof flow->to) == -1)
		die("packet socket");
}

int main(int argc, char **argv)
{
	struct flow flow = {.state = SYN_SENT};
	const char *end = NULL;

	if (argc < 7) {
		fprintf(stderr,
		    "usage: lateack INTERFACE MAC SOURCE TARGET PORT ACK_MS|never "
		    "[REQUEST_MS [LIMIT_MS]]\n");
		return 2;
	}
	int64_t ack_ms = strcmp(argv[6], "never") == 0 ? -1 : atoi(argv[6]);
	int64_t request_ms = argc > 7 ? atoi(argv[7]) : 0;
	int64_t limit = now_ms() + (argc > 8 ? atoi(argv[8]) : 10000);

	open_flow(&flow, argv);
	flow.due = now_ms();
	while (end == NULL) {
		struct segment segment;
		int64_t now = now_ms();

		if (now >= limit)
			end = flow.state == SYN_SENT ? "dropped" : "silence";
		else if (now >= flow.due)
			act(&flow, request_ms);
		else if (receive(&flow, &segment, flow.due < limit ? flow.due : limit))
			end = take(&flow, &segment, ack_ms);
	}
	puts(end);
	close(flow.fd);
	return 0;
}
