/*
 * Time for deadlines: monotonic milliseconds, which no change of the date can move. Dates shown to
 * people come from time(2), never from here.
 */
#ifndef LASTCALL_CLOCK_H
#define LASTCALL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_NEVER INT64_MAX

/* Milliseconds since some fixed moment. Does not fail. */
static inline int64_t clock_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The same in microseconds, for how long something took. */
static inline int64_t clock_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The earlier of two moments; CLOCK_NEVER is later than all. */
static inline int64_t clock_earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

#endif
