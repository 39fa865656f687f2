/* The shared memory; see scoreboard.h. Slots first (each has its own cache lines), then the words.
 */
#include "scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "descriptor.h"
#include "system.h"

/* Unknown to clients; where the system has no such file, they could guess it, and no more. */
static uint64_t random_bits(void)
{
	uint64_t bits = (uint64_t)getpid() << 32 ^ (uint64_t)clock_ms();
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, &bits, sizeof bits) != (ssize_t)sizeof bits)
		bits ^= (uint64_t)clock_ms() << 20;
	fd_close(&fd);
	return bits;
}

/* Finds its parts in the memory for so many slots, and how large it is. */
static void lay_out(struct scoreboard *scoreboard, size_t slots, char *memory)
{
	size_t size = 0;

	scoreboard->memory = memory;
	scoreboard->slots_count = slots;
	scoreboard->slots = (struct slot *)(void *)(memory + size);
	size += slots * sizeof(struct slot);
	scoreboard->tallies = (struct tally *)(void *)(memory + size);
	size += slots * SCOREBOARD_LISTENERS * sizeof(struct tally);
	scoreboard->crowd = (struct crowd_place *)(void *)(memory + size);
	size += slots * SCOREBOARD_CROWD * sizeof(struct crowd_place);
	scoreboard->salt = (_Atomic uint64_t *)(void *)(memory + size);
	size += sizeof(_Atomic uint64_t);
	scoreboard->listeners = (_Atomic uint64_t *)(void *)(memory + size);
	size += SCOREBOARD_LISTENERS * sizeof(_Atomic uint64_t);
	scoreboard->order = (_Atomic uint32_t *)(void *)(memory + size);
	scoreboard->size = size + sizeof(_Atomic uint32_t);
}

/* How large it is, or 0 with errno EINVAL: there cannot be as many. */
static size_t size_for(size_t slots)
{
	size_t size = slots *
		(sizeof(struct slot) + SCOREBOARD_LISTENERS * sizeof(struct tally) +
		    SCOREBOARD_CROWD * sizeof(struct crowd_place)) +
	    sizeof(_Atomic uint64_t) * (1 + SCOREBOARD_LISTENERS) + sizeof(_Atomic uint32_t);

	if (slots > 0 && slots <= SCOREBOARD_SLOTS)
		return size;
	errno = EINVAL;
	return 0;
}

int scoreboard_open(struct scoreboard *scoreboard, size_t slots)
{
	char *memory;

	*scoreboard = (struct scoreboard){.fd = -1};
	if (size_for(slots) == 0)
		return -1;
	memory = system_shared_memory(size_for(slots), &scoreboard->fd);
	if (memory == NULL)
		return -1;
	lay_out(scoreboard, slots, memory);
	*scoreboard->salt = random_bits();
	return 0;
}

int scoreboard_resume(struct scoreboard *scoreboard, size_t slots, int fd)
{
	struct stat info;
	void *memory;

	*scoreboard = (struct scoreboard){.fd = fd};
	if (size_for(slots) == 0 || fstat(fd, &info) == -1)
		return -1;
	if ((size_t)info.st_size != size_for(slots)) {
		errno = EINVAL;
		return -1;
	}
	memory = mmap(NULL, size_for(slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
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

bool scoreboard_is_limited(const struct scoreboard *scoreboard, size_t listener)
{
	for (size_t slot = 0; slot < scoreboard->slots_count; slot++) {
		if (atomic_load(&scoreboard->slots[slot].state) != SLOT_VACANT &&
		    slot_read(&scoreboard_tally(scoreboard, slot, listener)->limited) != 0)
			return true;
	}
	return false;
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
	slot_add(&sum->programs_done, slot_read(&tally->programs_done));
	slot_add(&sum->programs_failed, slot_read(&tally->programs_failed));
	slot_add(&sum->programs_killed, slot_read(&tally->programs_killed));
	slot_add(&sum->instances, slot_read(&tally->instances));
	slot_add(&sum->instances_ready, slot_read(&tally->instances_ready));
}

void tally_end_present(struct tally *tally)
{
	atomic_store(&tally->open, 0);
	atomic_store(&tally->instances, 0);
	atomic_store(&tally->instances_ready, 0);
	atomic_store(&tally->serves, 0);
	atomic_store(&tally->limited, 0);
}

void tally_clear(struct tally *tally)
{
	memset(tally, 0, sizeof *tally);
}
