/* The shared memory; see scoreboard.h. Slots first (each has its own cache lines), then the words.
 */
#include "scoreboard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "descriptor.h"
#include "system.h"

int scoreboard_open(struct scoreboard *scoreboard, size_t slots)
{
	size_t slots_size = slots * sizeof(struct slot);
	size_t listeners_size = SCOREBOARD_LISTENERS * sizeof(_Atomic uint64_t);
	size_t generations_size = SCOREBOARD_GENERATIONS * sizeof(_Atomic uint32_t);
	char *memory;

	*scoreboard = (struct scoreboard){.fd = -1};
	if (slots == 0 || slots > SCOREBOARD_SLOTS) {
		errno = EINVAL;
		return -1;
	}
	scoreboard->size = slots_size + listeners_size + generations_size;
	memory = system_shared_memory(scoreboard->size, &scoreboard->fd);
	if (memory == NULL)
		return -1;
	scoreboard->memory = memory;
	scoreboard->slots = (struct slot *)(void *)memory;
	scoreboard->slots_count = slots;
	scoreboard->listeners = (_Atomic uint64_t *)(void *)(memory + slots_size);
	scoreboard->generations =
	    (_Atomic uint32_t *)(void *)(memory + slots_size + listeners_size);
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
