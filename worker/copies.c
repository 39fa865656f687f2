/* Copies of larger files; see copies.h. */
#include "copies.h"

#include <sys/types.h>
#include <unistd.h>

#include "descriptor.h"
#include "handover.h"
#include "system.h"

static int descriptors; /* that this process has for copies, of any root */

void copies_open(struct copies *copies, uint64_t most)
{
	*copies = (struct copies){.most = most};
	for (int i = 0; i < COPIES_MAX; i++)
		copies->places[i] = (struct copy){.copies = copies, .fd = -1};
}

static bool is_taken(const struct copy *place)
{
	return place->identity.size > 0;
}

/* Vacates its place. */
static void forget(struct copy *copy)
{
	struct copies *copies = copy->copies;

	if (copy->fd != -1) {
		copies->taken -= (uint64_t)copy->identity.size;
		descriptors--;
		fd_close(&copy->fd);
	}
	*copy = (struct copy){.copies = copies, .fd = -1};
}

void copies_close(struct copies *copies)
{
	for (int i = 0; i < COPIES_MAX; i++) {
		if (is_taken(&copies->places[i]))
			forget(&copies->places[i]);
	}
	copies->most = 0;
}

/* No longer what the file is, or of no use. */
static void end(struct copy *copy)
{
	copy->gone = true;
	if (copy->holders == 0)
		forget(copy);
}

/* The next place that the hand comes to, of those that may be vacated; NULL: this one is not. */
static struct copy *pass(struct copies *copies)
{
	struct copy *copy = &copies->places[copies->hand++ % COPIES_MAX];
	bool spared = copy->asked || copy->holders > 0;

	copy->asked = false;
	return spared ? NULL : copy;
}

/* Those that somebody sends stay, and where they leave no room, all others do, too. */
static bool make_room(struct copies *copies, uint64_t size)
{
	uint64_t held = 0;

	for (int i = 0; i < COPIES_MAX; i++) {
		if (copies->places[i].holders > 0)
			held += (uint64_t)copies->places[i].identity.size;
	}
	if (copies->most - held < size)
		return false;
	while (copies->most - copies->taken < size) {
		struct copy *copy = pass(copies);

		if (copy != NULL && copy->fd != -1)
			forget(copy);
	}
	return true;
}

static struct copy *find(struct copies *copies, const struct identity *identity)
{
	for (int i = 0; i < COPIES_MAX; i++) {
		struct copy *copy = &copies->places[i];

		if (!is_taken(copy) || copy->gone || !identity_is_of(&copy->identity, identity))
			continue;
		if (identity_is_same(&copy->identity, identity))
			return copy;
		end(copy);
	}
	return NULL;
}

/* Who has asked for it once. */
static void remember(struct copies *copies, const struct identity *identity)
{
	struct copy *copy = NULL;

	for (int looks = 0; looks < 2 * COPIES_MAX && copy == NULL; looks++)
		copy = pass(copies);
	if (copy == NULL)
		return;
	forget(copy);
	copy->asked = true;
	copy->identity = *identity;
}

/* Makes the file for it. Returns whether it has one. */
static bool start(struct copy *copy)
{
	uint64_t size = (uint64_t)copy->identity.size;

	if (descriptors >= HANDOVER_COPIES_MAX || !make_room(copy->copies, size))
		return false;
	copy->fd = system_scratch_file();
	if (copy->fd == -1)
		return false;
	descriptors++;
	copy->copies->taken += size;
	return true;
}

struct copy *copy_hold(struct copies *copies, const struct identity *identity, bool all)
{
	struct copy *copy;

	if ((uint64_t)identity->size > copies->most)
		return NULL;
	copy = find(copies, identity);
	if (copy == NULL && all)
		remember(copies, identity);
	if (copy == NULL || (copy->fd == -1 && (!all || !start(copy))))
		return NULL;
	copy->asked = true;
	copy->holders++;
	return copy;
}

void copy_give(struct copy *copy)
{
	if (copy == NULL)
		return;
	copy->holders--;
	if (copy->gone && copy->holders == 0)
		forget(copy);
}

bool copy_is_whole(const struct copy *copy)
{
	return copy->length == (uint64_t)copy->identity.size;
}

void copy_add(struct copy *copy, const char *bytes, size_t length, uint64_t at)
{
	uint64_t there;
	size_t added;

	if (copy->gone || at > copy->length || at + length <= copy->length)
		return;
	there = copy->length - at;
	added = length - there;
	if (pwrite(copy->fd, bytes + there, added, (off_t)copy->length) == (ssize_t)added)
		copy->length += added;
	else
		end(copy); /* there is no memory for it */
}
