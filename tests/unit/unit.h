/*
 * The smallest unit test: CHECK says where and what failed and goes on; `return unit_end()` from
 * main prints the count and gives the exit status.
 */
#ifndef LASTCALL_UNIT_H
#define LASTCALL_UNIT_H

#include <stdio.h>
#include <string.h>

static int unit_checks, unit_failures;

#define CHECK(condition, ...)                                                                      \
	do {                                                                                       \
		unit_checks++;                                                                     \
		if (!(condition)) {                                                                \
			unit_failures++;                                                           \
			printf("%s:%d: failed: %s: ", __FILE__, __LINE__, #condition);             \
			printf("" __VA_ARGS__);                                                    \
			printf("\n");                                                              \
		}                                                                                  \
	} while (0)

static inline int unit_end(void)
{
	printf("%d checks, %d failed\n", unit_checks, unit_failures);
	return unit_failures != 0 || unit_checks == 0;
}

#endif
