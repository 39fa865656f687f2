/*
 * The gate and its undoing: after a close was taken back everybody is let in again, and a socket
 * that somebody else serves is never gated at all. As root and, where that can be, as nobody, whose
 * gate is another one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "address.h"
#include "closing.h"
#include "scoreboard.h"
#include "unit.h"

#define BACKLOG 16
#define GATED_MS 60 /* on loopback a handshake takes less than one */

struct listening {
	int fd;
	union address_socket at; /* what a client connects to */
	socklen_t length;
	_Atomic uint64_t word;
	struct closing closing;
};

/* IPv4, or IPv6 that is dual-stack; a client comes by IPv4 or by IPv6. */
static bool listening_open(struct listening *l, bool dual, bool by_v6, bool ours)
{
	union address_socket bound = {.in = {.sin_family = AF_INET}};
	const int off = 0;
	in_port_t port;

	*l = (struct listening){.fd = -1};
	if (dual)
		bound = (union address_socket){.in6 = {.sin6_family = AF_INET6}};
	l->fd = socket(bound.any.sa_family, SOCK_STREAM, 0);
	if (l->fd == -1 && errno == EAFNOSUPPORT)
		return false;
	if (dual)
		setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	l->length = dual ? sizeof bound.in6 : sizeof bound.in;
	if (bind(l->fd, &bound.any, l->length) == -1 || listen(l->fd, BACKLOG) == -1 ||
	    getsockname(l->fd, &bound.any, &l->length) == -1 ||
	    fcntl(l->fd, F_SETFL, O_NONBLOCK) == -1) {
		CHECK(false, "cannot listen: %s", strerror(errno));
		close(l->fd);
		return false;
	}
	port = dual ? bound.in6.sin6_port : bound.in.sin_port;
	if (by_v6)
		l->at.in6 = (struct sockaddr_in6){
		    .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	else
		l->at.in = (struct sockaddr_in){.sin_family = AF_INET,
		    .sin_port = port,
		    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	l->length = by_v6 ? sizeof l->at.in6 : sizeof l->at.in;
	closing_init(&l->closing, l->fd, LISTENER_TCP, &l->word);
	closing_share(&l->closing, !ours);
	l->closing.filter = -1;
	return true;
}

/* Connects. Returns the descriptor, or -1 if it has not within so many ms. */
static int connect_within(const struct listening *l, int ms)
{
	int fd = socket(l->at.any.sa_family, SOCK_STREAM, 0);
	struct pollfd waits = {.fd = fd, .events = POLLOUT};

	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (connect(fd, &l->at.any, l->length) == 0 || poll(&waits, 1, ms) == 1)
		return fd;
	close(fd);
	return -1;
}

/* What is in the queue is accepted as a worker would, and says something to its client. */
static bool is_served(const struct listening *l, int client)
{
	struct pollfd waits = {.fd = l->fd, .events = POLLIN};
	char byte = 0;
	int fd = poll(&waits, 1, 5000) == 1 ? accept(l->fd, NULL, NULL) : -1;
	bool served;

	if (fd == -1)
		return false;
	if (closing_word(&l->word) & WORD_GATED)
		gate_admit(fd);
	/* It must receive, which a gate that it inherited would prevent. */
	send(client, "q", 1, MSG_NOSIGNAL);
	waits.fd = fd;
	served = poll(&waits, 1, 5000) == 1 && recv(fd, &byte, 1, 0) == 1 && byte == 'q';
	close(fd);
	return served;
}

static void test_cancel(bool dual, bool by_v6)
{
	struct listening l;
	int before, gated, after;

	if (!listening_open(&l, dual, by_v6, true))
		return;
	before = connect_within(&l, 5000);
	CHECK(before >= 0, "nobody is let in before");
	closing_begin(&l.closing, 1000, 5000);
	CHECK(closing_word(&l.word) == WORD_CLOSING, "the flag comes before the gate");
	closing_gate(&l.closing, 1000);
	CHECK(l.closing.state == CLOSING_GATED, "it is gated");
	gated = connect_within(&l, GATED_MS);
	CHECK(l.closing.way == GATE_NONE || l.closing.way == GATE_BACKLOG || gated == -1,
	    "somebody is let in through the gate %s", gate_way_name(l.closing.way));
	CHECK(closing_cancel(&l.closing, BACKLOG) == 0, "%s", strerror(errno));
	CHECK(closing_word(&l.word) == WORD_GATED, "the flag is cleared, and \"ever gated\" stays");
	CHECK(l.closing.state == CLOSING_OPEN && l.closing.way == GATE_NONE, "it is open");
	if (gated >= 0)
		close(gated); /* where the queue alone was made short */
	after = connect_within(&l, 5000);
	CHECK(after >= 0, "nobody is let in after it was undone");
	CHECK(is_served(&l, before), "who came before the gate is not served");
	CHECK(closing_cancel(&l.closing, BACKLOG) == -1 && errno == EALREADY, "once is enough");

	/* And it can be closed again, for good. */
	closing_begin(&l.closing, 2000, 5000);
	closing_gate(&l.closing, 2000);
	closing_force(&l.closing);
	CHECK(closing_cancel(&l.closing, BACKLOG) == -1 && errno == EALREADY,
	    "what was released cannot be taken back");
	close(before);
	close(after);
	close(l.fd);
}

/* A socket that a service manager has too: flag and drain, but neither gate nor shutdown. */
static void test_not_ours(bool dual, bool by_v6)
{
	struct listening l;
	int client;

	if (!listening_open(&l, dual, by_v6, false))
		return;
	closing_begin(&l.closing, 1000, 5000);
	closing_gate(&l.closing, 1000);
	CHECK(l.closing.way == GATE_NONE, "its gate is %s", gate_way_name(l.closing.way));
	client = connect_within(&l, 5000);
	CHECK(client >= 0, "whoever else serves it cannot be reached");
	CHECK(is_served(&l, client), "nor serve");
	close(client);
	closing_force(&l.closing);
	CHECK(l.closing.state == CLOSING_RELEASED, "it is released");
	client = connect_within(&l, 5000);
	CHECK(client >= 0, "it was shut down");
	CHECK(is_served(&l, client), "and not served");
	close(client);
	close(l.fd);
}

/* A Unix socket that was shut cannot be opened again, and goes on closing. */
static void test_unix(void)
{
	_Atomic uint64_t word = 0;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct closing closing;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	CHECK(bind(fd, (struct sockaddr *)&at, sizeof(sa_family_t)) == 0 && listen(fd, 1) == 0,
	    "%s", strerror(errno));
	closing_init(&closing, fd, LISTENER_UNIX, &word);
	closing_begin(&closing, 1000, 5000);
	CHECK(closing_cancel(&closing, 1) == 0, "before the gate it can be");
	closing_begin(&closing, 1000, 5000);
	closing_gate(&closing, 1000);
	CHECK(closing_cancel(&closing, 1) == -1 && errno == EOPNOTSUPP, "%s", strerror(errno));
	CHECK(closing.state == CLOSING_GATED && (closing_word(&word) & WORD_CLOSING),
	    "it does not go on closing");
	close(fd);
}

/* Programs of others accept on it: no gate that their connections would inherit, they are told
 * before it is shut down, and what they leave in the queue is counted. */
static void test_foreign(bool dual, bool by_v6)
{
	struct gate_census census = {.taken = false};
	struct listening l;
	char byte;
	int client, served, late;

	if (!listening_open(&l, dual, by_v6, true))
		return;
	l.closing.foreign = true;
	closing_begin(&l.closing, 1000, 5000);
	closing_gate(&l.closing, 1000);
	CHECK(l.closing.way == GATE_NONE || l.closing.way == GATE_FILTER, "its gate is %s",
	    gate_way_name(l.closing.way));
	CHECK(!(closing_word(&l.word) & (WORD_GATED | WORD_LEAVE)), "it was told too much");
	if (l.closing.way == GATE_NONE) {
		/* As a program does it, without a word on what it inherits. */
		client = connect_within(&l, 5000);
		served = accept(l.fd, NULL, NULL);
		send(client, "q", 1, MSG_NOSIGNAL);
		CHECK(poll(&(struct pollfd){.fd = served, .events = POLLIN}, 1, 5000) == 1 &&
			recv(served, &byte, 1, 0) == 1,
		    "its connections do not receive");
		close(served);
		close(client);
	}
	for (int64_t now = 1000; l.closing.state < CLOSING_YIELDING && now < 4000; now += 400)
		closing_step(&l.closing, &census, now);
	CHECK(l.closing.state == CLOSING_YIELDING, "its state is %d", (int)l.closing.state);
	CHECK((closing_word(&l.word) & (WORD_LEAVE | WORD_RELEASED)) == WORD_LEAVE,
	    "the programs are not told before the release");
	CHECK(closing_cancel(&l.closing, BACKLOG) == -1 && errno == EALREADY,
	    "programs that were told to end cannot be taken back");
	late = l.closing.way == GATE_NONE ? connect_within(&l, 5000) : -1;
	closing_step(&l.closing, &census, 5000);
	CHECK(l.closing.state == CLOSING_YIELDING, "it is taken from who still has it");
	l.closing.left = true;
	closing_step(&l.closing, &census, 5500);
	CHECK(l.closing.state == CLOSING_RELEASED, "it is held when nobody has it");
	CHECK(l.closing.lost == (late >= 0), "lost are %d", l.closing.lost);
	CHECK(closing_word(&l.word) & WORD_RELEASED, "nobody is told");
	if (late >= 0)
		close(late);
	close(l.fd);

	/* One that is never left is taken all the same. */
	if (!listening_open(&l, dual, by_v6, true))
		return;
	l.closing.foreign = true;
	closing_begin(&l.closing, 1000, 5000);
	for (int64_t now = 1000; now < 12000; now += 100)
		closing_step(&l.closing, &census, now);
	CHECK(l.closing.state == CLOSING_RELEASED, "it is held for ever");
	close(l.fd);
}

static void test_all(void)
{
	test_foreign(false, false);
	test_foreign(true, false);
	test_foreign(true, true);
	test_cancel(false, false);
	test_cancel(true, false);
	test_cancel(true, true);
	test_not_ours(false, false);
	test_not_ours(true, false);
	test_not_ours(true, true);
	test_unix();
}

int main(void)
{
	test_all();
	if (geteuid() == 0 && setuid(65534) == 0)
		test_all();
	return unit_end();
}
