/* The pool of buffers; see buffer.h. */
#include "buffer.h"

#include <string.h>
#include <sys/mman.h>

int buffers_open(struct buffers *buffers, size_t count)
{
	void *memory = mmap(NULL, count * sizeof(struct buffer), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -1;
	*buffers = (struct buffers){.all = memory, .count = count};
	return 0;
}

struct buffer *buffer_take(struct buffers *buffers)
{
	struct buffer *buffer = buffers->vacant;

	if (buffer != NULL)
		buffers->vacant = buffer->next;
	else if (buffers->touched < buffers->count)
		buffer = &buffers->all[buffers->touched++];
	else
		return NULL;
	buffer->begin = buffer->end = 0;
	return buffer;
}

void buffer_give(struct buffers *buffers, struct buffer **buffer)
{
	if (*buffer == NULL)
		return;
	(*buffer)->next = buffers->vacant;
	buffers->vacant = *buffer;
	*buffer = NULL;
}

void buffer_add(struct buffer *buffer, const char *bytes, size_t length)
{
	if (length > buffer_room(buffer))
		length = buffer_room(buffer);
	memcpy(buffer->bytes + buffer->end, bytes, length);
	buffer->end += (uint32_t)length;
}

void buffer_compact(struct buffer *buffer)
{
	size_t length = buffer_length(buffer);

	if (buffer->begin == 0)
		return;
	memmove(buffer->bytes, buffer->bytes + buffer->begin, length);
	buffer->begin = 0;
	buffer->end = (uint32_t)length;
}
