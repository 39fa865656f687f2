/*
 * Blocks: chains of random lengths that are taken, held, read and given back, each full of a letter
 * of its own.
 */
#include "blocks.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#define HOLDS(condition) CHECK(condition, "it does not hold")
#define BLOCKS 50
#define CHAINS 40
#define PIECES (BLOCKS + 1)

static struct blocks blocks;
static struct {
	block_chain chain;
	size_t length;
	int holders;
	char letter;
} chains[CHAINS];

static size_t vacant_bytes(void)
{
	size_t used = 0;

	for (int i = 0; i < CHAINS; i++)
		used += chains[i].chain != 0 ? (chains[i].length + BLOCK_SIZE - 1) / BLOCK_SIZE : 0;
	return (BLOCKS - used) * BLOCK_SIZE;
}

/* Whether those bytes of a chain are its letter, in pieces that have the length together. */
static bool is_whole(int i, size_t at, size_t length)
{
	struct iovec pieces[PIECES];
	int count = chain_pieces(&blocks, chains[i].chain, at, length, pieces, PIECES);
	size_t sum = 0;

	for (int piece = 0; piece < count; piece++) {
		const char *bytes = pieces[piece].iov_base;

		for (size_t n = 0; n < pieces[piece].iov_len; n++) {
			if (bytes[n] != chains[i].letter)
				return false;
		}
		sum += pieces[piece].iov_len;
	}
	return sum == length;
}

static void fill(int i)
{
	struct iovec pieces[PIECES];
	int count = chain_pieces(&blocks, chains[i].chain, 0, chains[i].length, pieces, PIECES);

	for (int piece = 0; piece < count; piece++)
		memset(pieces[piece].iov_base, chains[i].letter, pieces[piece].iov_len);
}

static void begin(int i)
{
	size_t vacant = vacant_bytes();

	chains[i].length = 1 + (size_t)rand() % (10 * BLOCK_SIZE);
	if (rand() % 4 == 0)
		chains[i].length = (size_t)(1 + rand() % 4) * BLOCK_SIZE;
	chains[i].chain = 0;
	HOLDS(blocks_have_room(&blocks, chains[i].length) == (chains[i].length <= vacant));
	chains[i].chain = chain_take(&blocks, chains[i].length);
	HOLDS((chains[i].chain != 0) == (chains[i].length <= vacant));
	chains[i].holders = 1;
	chains[i].letter = (char)('a' + rand() % 26);
	if (chains[i].chain != 0)
		fill(i);
}

static void at_random(void)
{
	for (int round = 0; round < 20000; round++) {
		int i = rand() % CHAINS;

		if (chains[i].chain == 0) {
			begin(i);
		} else if (rand() % 3 == 0) {
			chain_hold(&blocks, chains[i].chain);
			chains[i].holders++;
		} else {
			size_t at = (size_t)rand() % chains[i].length;

			HOLDS(is_whole(i, 0, chains[i].length));
			HOLDS(is_whole(i, at, chains[i].length - at));
			HOLDS(is_whole(i, at, (size_t)rand() % (chains[i].length - at + 1)));
			chain_give(&blocks, chains[i].chain);
			if (--chains[i].holders == 0)
				chains[i].chain = 0;
		}
	}
}

static void all_come_back(void)
{
	for (int i = 0; i < CHAINS; i++) {
		for (; chains[i].chain != 0 && chains[i].holders > 0; chains[i].holders--)
			chain_give(&blocks, chains[i].chain);
		chains[i].chain = 0;
	}
	HOLDS(blocks_have_room(&blocks, BLOCKS * BLOCK_SIZE));
	HOLDS(!blocks_have_room(&blocks, BLOCKS * BLOCK_SIZE + 1));
	HOLDS(chain_take(&blocks, BLOCKS * BLOCK_SIZE + 1) == 0);
	HOLDS(chain_take(&blocks, BLOCKS * BLOCK_SIZE) != 0);
	HOLDS(chain_take(&blocks, 1) == 0);
}

static void few_pieces(void)
{
	struct iovec pieces[2];
	block_chain chain;

	chain_give(&blocks, 0);
	blocks_close(&blocks);
	HOLDS(blocks_open(&blocks, 4 * BLOCK_SIZE + 1) == 0);
	chain = chain_take(&blocks, 4 * BLOCK_SIZE);
	HOLDS(chain != 0);
	HOLDS(chain_pieces(&blocks, chain, BLOCK_SIZE - 1, 3 * BLOCK_SIZE, pieces, 2) == 2);
	HOLDS(pieces[0].iov_len == 1 && pieces[1].iov_len == BLOCK_SIZE);
	blocks_close(&blocks);
	HOLDS(blocks_open(&blocks, BLOCK_SIZE - 1) == 0);
	HOLDS(chain_take(&blocks, 1) == 0);
	blocks_close(&blocks);
}

int main(void)
{
	HOLDS(blocks_open(&blocks, BLOCKS * BLOCK_SIZE) == 0);
	at_random();
	all_come_back();
	few_pieces();
	return unit_end();
}
