/*
 * The worker's buffers: a fixed number of one size, taken when bytes come and given back when they
 * are dealt with, so that an idle connection holds none. The memory is reserved at start and
 * touched when first used.
 */
#ifndef LASTCALL_BUFFER_H
#define LASTCALL_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#define BUFFER_SIZE 16384

struct buffer {
	struct buffer *next; /* free list */
	uint32_t begin, end; /* what is in it: bytes[begin, end) */
	char bytes[BUFFER_SIZE - 16];
};

struct buffers {
	struct buffer *all, *vacant;
	size_t count, touched; /* those above touched were never used */
};

/* Returns 0, or -1 with errno ENOMEM. */
int buffers_open(struct buffers *buffers, size_t count);

/* An empty buffer; the one given back last, which is still warm. There is one for each that may be
 * asked for. */
struct buffer *buffer_take(struct buffers *buffers);

/* Gives *buffer back and sets it to NULL. NULL is allowed. */
void buffer_give(struct buffers *buffers, struct buffer **buffer);

static inline size_t buffer_length(const struct buffer *buffer)
{
	return buffer->end - buffer->begin;
}

static inline size_t buffer_room(const struct buffer *buffer)
{
	return sizeof buffer->bytes - buffer->end;
}

/* Appends bytes; what has no room is left out. */
void buffer_add(struct buffer *buffer, const char *bytes, size_t length);

/* Moves what is in it to its beginning, so that all its room is at the end. */
void buffer_compact(struct buffer *buffer);

#endif
