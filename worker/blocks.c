/* Blocks, and chains of them; see blocks.h. */
#include "blocks.h"

#include <sys/mman.h>

#define NONE UINT32_MAX

static void *reserve(size_t size)
{
	void *memory = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void unreserve(void *memory, size_t size)
{
	if (memory != NULL)
		munmap(memory, size);
}

int blocks_open(struct blocks *blocks, size_t size)
{
	uint32_t count = (uint32_t)(size / BLOCK_SIZE);

	*blocks = (struct blocks){.count = count, .vacant_count = count, .vacant = NONE};
	if (count == 0)
		return 0;
	blocks->bytes = reserve((size_t)count * BLOCK_SIZE);
	blocks->next = reserve(count * sizeof *blocks->next);
	blocks->holders = reserve(count * sizeof *blocks->holders);
	if (blocks->bytes != NULL && blocks->next != NULL && blocks->holders != NULL)
		return 0;
	blocks_close(blocks);
	return -1;
}

void blocks_close(struct blocks *blocks)
{
	unreserve(blocks->bytes, (size_t)blocks->count * BLOCK_SIZE);
	unreserve(blocks->next, blocks->count * sizeof *blocks->next);
	unreserve(blocks->holders, blocks->count * sizeof *blocks->holders);
	*blocks = (struct blocks){.bytes = NULL};
}

static size_t blocks_for(size_t length)
{
	return (length + BLOCK_SIZE - 1) / BLOCK_SIZE;
}

bool blocks_have_room(const struct blocks *blocks, size_t length)
{
	return blocks_for(length) <= blocks->vacant_count;
}

static uint32_t take_block(struct blocks *blocks)
{
	uint32_t block = blocks->vacant;

	blocks->vacant_count--;
	if (block == NONE)
		return blocks->touched++;
	blocks->vacant = blocks->next[block];
	return block;
}

block_chain chain_take(struct blocks *blocks, size_t length)
{
	uint32_t first = NONE;

	if (!blocks_have_room(blocks, length))
		return 0;
	for (size_t left = blocks_for(length); left > 0; left--) {
		uint32_t block = take_block(blocks);

		blocks->next[block] = first;
		first = block;
	}
	blocks->holders[first] = 1;
	return first + 1;
}

void chain_hold(struct blocks *blocks, block_chain chain)
{
	blocks->holders[chain - 1]++;
}

bool chain_is_shared(const struct blocks *blocks, block_chain chain)
{
	return chain != 0 && blocks->holders[chain - 1] > 1;
}

void chain_give(struct blocks *blocks, block_chain chain)
{
	uint32_t block = chain - 1;

	if (chain == 0 || --blocks->holders[block] > 0)
		return;
	while (block != NONE) {
		uint32_t next = blocks->next[block];

		blocks->next[block] = blocks->vacant;
		blocks->vacant = block;
		blocks->vacant_count++;
		block = next;
	}
}

int chain_pieces(const struct blocks *blocks, block_chain chain, uint64_t at, uint64_t length,
    struct iovec *pieces, int max)
{
	uint32_t block = chain - 1;
	int count = 0;

	for (; at >= BLOCK_SIZE; at -= BLOCK_SIZE)
		block = blocks->next[block];
	while (length > 0 && count < max) {
		size_t here = BLOCK_SIZE - (size_t)at;

		if (here > length)
			here = (size_t)length;
		pieces[count++] = (struct iovec){
		    .iov_base = blocks->bytes + (size_t)block * BLOCK_SIZE + at,
		    .iov_len = here,
		};
		length -= here;
		at = 0;
		block = blocks->next[block];
	}
	return count;
}
