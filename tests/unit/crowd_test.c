/* How many connections a client has: across workers, listeners and families, and after a death. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "crowd.h"
#include "unit.h"
#include "worker.h"

#define HOLDS(condition) CHECK(condition, "it does not hold")
#define WORKERS 3
#define CLIENTS 3000

static struct scoreboard scoreboard;
static struct handover handovers[WORKERS];
static struct worker workers[WORKERS];
static struct acceptor acceptors[WORKERS][2]; /* of two listeners */

static void begin(void)
{
	HOLDS(scoreboard_open(&scoreboard, WORKERS) == 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		handovers[i] = (struct handover){.scoreboard = &scoreboard, .slot = i};
		workers[i] = (struct worker){.from = &handovers[i], .self = &scoreboard.slots[i]};
		atomic_store(&scoreboard.slots[i].state, SLOT_SERVING);
		crowd_clear(&workers[i]);
		for (unsigned j = 0; j < 2; j++)
			acceptors[i][j] =
			    (struct acceptor){.worker = &workers[i], .from = {.index = j}};
	}
}

static union address_socket ipv4(uint32_t address)
{
	union address_socket peer = {.any.sa_family = AF_INET};

	peer.in.sin_addr.s_addr = htonl(address);
	return peer;
}

static union address_socket ipv6(const char *text)
{
	union address_socket peer = {.any.sa_family = AF_INET6};

	inet_pton(AF_INET6, text, &peer.in6.sin6_addr);
	return peer;
}

/* Counts one in; returns how many there are. */
static uint32_t enter(
    unsigned worker, unsigned listener, union address_socket peer, uint32_t *place)
{
	uint32_t count = 0;

	*place = crowd_enter(&acceptors[worker][listener], &peer, &count);
	return count;
}

static void test_workers(void)
{
	const union address_socket one = ipv4(0x7f000001), two = ipv4(0x7f000002);
	uint32_t places[8];

	HOLDS(enter(0, 0, one, &places[0]) == 1);
	CHECK(enter(1, 0, one, &places[1]) == 2, "another worker's counts too");
	HOLDS(enter(0, 0, one, &places[2]) == 3);
	CHECK(enter(0, 0, two, &places[3]) == 1, "another client");
	CHECK(enter(0, 1, one, &places[4]) == 1, "another listener");
	CHECK(enter(2, 0, ipv6("::ffff:127.0.0.1"), &places[5]) == 4, "the same on a dual socket");
	HOLDS(enter(2, 0, ipv6("::1"), &places[6]) == 1);
	crowd_leave(&workers[1], places[1]);
	HOLDS(enter(1, 0, one, &places[1]) == 4);
	crowd_leave(&workers[0], places[0]);
	crowd_leave(&workers[0], places[2]);
	HOLDS(enter(0, 0, one, &places[0]) == 3);
	/* A worker that has died counts no more, and its place is empty for the next. */
	atomic_store(&scoreboard.slots[2].state, SLOT_VACANT);
	crowd_leave(&workers[0], places[0]);
	HOLDS(enter(0, 0, one, &places[0]) == 2);
	workers[2].crowd_is_clear = false;
	crowd_clear(&workers[2]);
	atomic_store(&scoreboard.slots[2].state, SLOT_SERVING);
	crowd_leave(&workers[0], places[0]);
	HOLDS(enter(0, 0, one, &places[0]) == 2);
	for (int i = 0; i < 2; i++)
		crowd_leave(&workers[i], places[i]);
	crowd_leave(&workers[0], places[3]);
	crowd_leave(&workers[0], places[4]);
	CHECK(enter(0, 0, one, &places[0]) == 1, "nobody is left");
	crowd_leave(&workers[0], places[0]);
}

static void test_uncounted(void)
{
	union address_socket peer = {.any.sa_family = AF_UNIX};
	uint32_t place, count = 7;

	place = crowd_enter(&acceptors[0][0], &peer, &count);
	CHECK(place == 0 && count == 0, "a Unix socket");
	crowd_leave(&workers[0], 0);
}

/* Thousands at a time: each is counted as itself, or, where there is no place, not at all. */
static void test_many(void)
{
	static uint32_t places[CLIENTS];
	unsigned uncounted = 0;

	for (uint32_t i = 0; i < CLIENTS; i++) {
		uint32_t count = enter(i % 2, 0, ipv4(0x0a000000 + i), &places[i]);

		CHECK(count == (places[i] != 0), "client %u: %u", i, count);
		uncounted += places[i] == 0;
	}
	CHECK(uncounted < CLIENTS / 100, "%u", uncounted);
	for (uint32_t i = 0; i < CLIENTS; i++)
		crowd_leave(&workers[i % 2], places[i]);
	for (size_t i = 0; i < WORKERS * (size_t)SCOREBOARD_CROWD; i++)
		CHECK(atomic_load(&scoreboard.crowd[i].count) == 0, "place %zu", i);
}

int main(void)
{
	begin();
	test_workers();
	test_uncounted();
	test_many();
	scoreboard_close(&scoreboard);
	return unit_end();
}
