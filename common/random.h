/* Bytes that nobody can guess, for keys and boundaries; taken at start, not while serving. */
#ifndef LASTCALL_RANDOM_H
#define LASTCALL_RANDOM_H

#include <stddef.h>

/* Returns 0, or -1 with errno. */
int random_bytes(void *out, size_t size);

#endif
