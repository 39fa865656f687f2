/*
 * Where the file cache keeps the bytes of files: blocks of one size, of which there is a fixed
 * number. A file takes a chain of as many as it needs. The chain is held by the cache, and by each
 * connection that sends the file, and its blocks are vacant again when the last of them gives it
 * back: so what is being sent stays what it was, whatever becomes of the file, and memory is
 * bounded all the same.
 *
 * The memory is reserved at the start and touched when first used.
 */
#ifndef LASTCALL_BLOCKS_H
#define LASTCALL_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_SIZE 8192 /* bytes */

struct blocks {
	char *bytes; /* NULL: there are none */
	uint32_t *next; /* of each: the one after it, in a chain or among the vacant */
	uint32_t *holders; /* of each chain, at its first block */
	uint32_t count, vacant_count;
	uint32_t touched; /* those from here on were never used */
	uint32_t vacant; /* the first of those that were given back */
};

/* 1 + the number of its first block, so that zero is none. */
typedef uint32_t block_chain;

/* Reserves so many bytes, rounded down to whole blocks. Returns 0, or -1 with errno ENOMEM. */
int blocks_open(struct blocks *blocks, size_t size);
void blocks_close(struct blocks *blocks);

/* Whether there is room for so many bytes. */
bool blocks_have_room(const struct blocks *blocks, size_t length);

/* A chain for so many bytes, at least one, with one holder. Returns 0: there is no room. */
block_chain chain_take(struct blocks *blocks, size_t length);

/* One holder more, and one less. To give back none is allowed. */
void chain_hold(struct blocks *blocks, block_chain chain);
void chain_give(struct blocks *blocks, block_chain chain);

/* Whether it has more than one. None has not. */
bool chain_is_shared(const struct blocks *blocks, block_chain chain);

/*
 * The bytes [at, at + length) of a chain, which must have them, as at most max pieces. Returns how
 * many; where those are not enough, they are the beginning.
 */
int chain_pieces(const struct blocks *blocks, block_chain chain, uint64_t at, uint64_t length,
    struct iovec *pieces, int max);

#endif
