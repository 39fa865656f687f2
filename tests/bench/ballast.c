/*
 * ballast: as a preloaded library, fills 2 GiB of a server's memory before its main, so that `make
 * bench` sees what it costs to start programs from a process that has much. As a program it tells
 * how much that is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BALLAST ((size_t)2 << 30)

/* Who has it in the environment of its children would fill theirs too. */
__attribute__((constructor)) static void fill(void)
{
	char *memory;

	if (getenv("BALLAST") == NULL)
		return;
	memory = mmap(NULL, BALLAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("ballast");
		abort();
	}
	memset(memory, 1, BALLAST);
}

int main(void)
{
	return printf("%zu\n", BALLAST) < 0;
}
