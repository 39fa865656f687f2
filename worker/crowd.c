/* Clients and their connections; see crowd.h. */
#include "crowd.h"

#include <string.h>

#include "worker.h"

#define PROBES 16 /* places that a key may stand at */

static struct crowd_place *places_of(const struct worker *worker, size_t slot)
{
	return worker->from->scoreboard->crowd + slot * SCOREBOARD_CROWD;
}

void crowd_clear(struct worker *worker)
{
	struct crowd_place *places = places_of(worker, worker->from->slot);

	if (worker->crowd_is_clear)
		return;
	worker->crowd_is_clear = true;
	/* Memory that nobody used yet is not touched for it. */
	for (size_t i = 0; i < SCOREBOARD_CROWD; i++) {
		if (atomic_load_explicit(&places[i].count, memory_order_relaxed) != 0)
			atomic_store(&places[i].count, 0);
	}
}

/* Spreads every bit over all of them (the finaliser of MurmurHash3). */
static uint64_t mix(uint64_t bits)
{
	bits ^= bits >> 33;
	bits *= UINT64_C(0xff51afd7ed558ccd);
	bits ^= bits >> 33;
	bits *= UINT64_C(0xc4ceb9fe1a85ec53);
	return bits ^ bits >> 33;
}

/* 0: it is no client that can be told from others. */
static uint64_t key_of(const struct acceptor *acceptor, const union address_socket *peer)
{
	uint64_t salt = *acceptor->worker->from->scoreboard->salt;
	uint64_t parts[2] = {0, 0}, key;

	if (peer->any.sa_family == AF_INET) {
		/* As it would stand in an address of IPv6: on a dual-stack socket it does. */
		unsigned char mapped[16] = {[10] = 0xff, [11] = 0xff};

		memcpy(mapped + 12, &peer->in.sin_addr, 4);
		memcpy(parts, mapped, sizeof parts);
	} else if (peer->any.sa_family == AF_INET6) {
		memcpy(parts, &peer->in6.sin6_addr, sizeof parts);
	} else {
		return 0;
	}
	key = mix(salt ^ acceptor->from.index);
	key = mix(key ^ parts[0]);
	key = mix(key + parts[1]);
	return key != 0 ? key : 1;
}

static struct crowd_place *place_at(struct crowd_place *places, uint64_t key, unsigned probe)
{
	return &places[(key + probe) % SCOREBOARD_CROWD];
}

static uint64_t count_in(struct crowd_place *places, uint64_t key)
{
	uint64_t count = 0;

	for (unsigned probe = 0; probe < PROBES; probe++) {
		struct crowd_place *place = place_at(places, key, probe);

		if (atomic_load(&place->key) == key)
			count += atomic_load(&place->count);
	}
	return count;
}

/* Where this worker counts a key, or NULL: there is no place. */
static struct crowd_place *own_place(struct worker *worker, uint64_t key)
{
	struct crowd_place *places = places_of(worker, worker->from->slot), *vacant = NULL;

	for (unsigned probe = 0; probe < PROBES; probe++) {
		struct crowd_place *place = place_at(places, key, probe);
		bool taken = atomic_load_explicit(&place->count, memory_order_relaxed) > 0;

		if (taken && atomic_load_explicit(&place->key, memory_order_relaxed) == key)
			return place;
		if (!taken && vacant == NULL)
			vacant = place;
	}
	if (vacant != NULL)
		atomic_store(&vacant->key, key);
	return vacant;
}

uint32_t crowd_enter(struct acceptor *acceptor, const union address_socket *peer, uint32_t *count)
{
	struct worker *worker = acceptor->worker;
	const struct scoreboard *scoreboard = worker->from->scoreboard;
	uint64_t key = key_of(acceptor, peer), sum = 0;
	struct crowd_place *place = key != 0 ? own_place(worker, key) : NULL;

	*count = 0;
	if (place == NULL)
		return 0;
	/* First counted, then looked at, in one order for everybody. */
	atomic_store(&place->count, atomic_load(&place->count) + 1);
	atomic_thread_fence(memory_order_seq_cst);
	for (size_t slot = 0; slot < scoreboard->slots_count; slot++) {
		if (slot == worker->from->slot ||
		    atomic_load_explicit(&scoreboard->slots[slot].state, memory_order_relaxed) !=
			SLOT_VACANT)
			sum += count_in(places_of(worker, slot), key);
	}
	*count = sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
	return (uint32_t)(place - places_of(worker, worker->from->slot)) + 1;
}

void crowd_leave(struct worker *worker, uint32_t place)
{
	struct crowd_place *at;

	if (place == 0)
		return;
	at = &places_of(worker, worker->from->slot)[place - 1];
	if (atomic_load(&at->count) > 0)
		atomic_store(&at->count, atomic_load(&at->count) - 1);
}
