/* The shared memory; see scoreboard.h. Slots first (each has its own cache lines), then the words.
 */
#include "scoreboard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "descriptor.h"
#include "system.h"

/* How large it is for so many slots, or 0: there cannot be as many. */
static size_t size_for(size_t slots)
{
	if (slots == 0 || slots > SCOREBOARD_SLOTS)
		return 0;
	return slots * sizeof(struct slot) + slots * SCOREBOARD_LISTENERS * sizeof(struct tally) +
	    SCOREBOARD_LISTENERS * sizeof(_Atomic uint64_t) + sizeof(_Atomic uint32_t);
}

/* Finds its parts in the memory. */
static void lay_out(struct scoreboard *scoreboard, size_t slots, char *memory)
{
	scoreboard->memory = memory;
	scoreboard->slots_count = slots;
	scoreboard->slots = (struct slot *)(void *)memory;
	memory += slots * sizeof(struct slot);
	scoreboard->tallies = (struct tally *)(void *)memory;
	memory += slots * SCOREBOARD_LISTENERS * sizeof(struct tally);
	scoreboard->listeners = (_Atomic uint64_t *)(void *)memory;
	memory += SCOREBOARD_LISTENERS * sizeof(_Atomic uint64_t);
	scoreboard->order = (_Atomic uint32_t *)(void *)memory;
}

int scoreboard_open(struct scoreboard *scoreboard, size_t slots)
{
	char *memory;

	*scoreboard = (struct scoreboard){.fd = -1, .size = size_for(slots)};
	if (scoreboard->size == 0) {
		errno = EINVAL;
		return -1;
	}
	memory = system_shared_memory(scoreboard->size, &scoreboard->fd);
	if (memory == NULL)
		return -1;
	lay_out(scoreboard, slots, memory);
	return 0;
}

int scoreboard_resume(struct scoreboard *scoreboard, size_t slots, int fd)
{
	struct stat info;
	void *memory;

	*scoreboard = (struct scoreboard){.fd = fd, .size = size_for(slots)};
	if (fstat(fd, &info) == -1)
		return -1;
	if (scoreboard->size == 0 || (size_t)info.st_size != scoreboard->size) {
		errno = EINVAL;
		return -1;
	}
	memory = mmap(NULL, scoreboard->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -1;
	lay_out(scoreboard, slots, memory);
	return 0;
}

void scoreboard_close(struct scoreboard *scoreboard)
{
	if (scoreboard->memory != NULL)
		munmap(scoreboard->memory, scoreboard->size);
	scoreboard->memory = NULL;
	fd_close(&scoreboard->fd);
}

void slot_clear(struct slot *slot)
{
	memset(slot, 0, sizeof *slot);
}

void tally_add(struct tally *sum, const struct tally *tally)
{
	/* First: what became of those that are not open any more is there by then. */
	slot_add(&sum->open, atomic_load_explicit(&tally->open, memory_order_acquire));
	slot_add(&sum->accepted, slot_read(&tally->accepted));
	slot_add(&sum->answered, slot_read(&tally->answered));
	slot_add(&sum->queued, slot_read(&tally->queued));
	slot_add(&sum->left, slot_read(&tally->left));
	slot_add(&sum->cut, slot_read(&tally->cut));
}

void tally_clear(struct tally *tally)
{
	memset(tally, 0, sizeof *tally);
}
