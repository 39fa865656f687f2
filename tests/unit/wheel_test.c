/*
 * The wheel: timers that are set, moved and cleared at random, also from within fire(), each of
 * which must fire at its deadline or up to a tick after it, and never before; wheel_next must never
 * name a moment after one at which something is due.
 */
#include "wheel.h"
#include "clock.h"
#include "loop.h"
#include "unit.h"

#include <stdlib.h>

#define TIMERS 200
#define TURNS 20000
#define SPAN_MS (3 * WHEEL_SLOTS * WHEEL_TICK_MS) /* beyond the last slot, too */

static struct wheel wheel;
static int64_t now;
static struct test_timer {
	struct timer timer;
	int64_t deadline; /* what it should be */
} timers[TIMERS];
static int early, late, fired;

static void set(struct test_timer *t, int64_t deadline)
{
	t->deadline = deadline;
	timer_set(&wheel, &t->timer, deadline);
}

static void clear(struct test_timer *t)
{
	t->deadline = CLOCK_NEVER;
	timer_clear(&wheel, &t->timer);
}

static int64_t soon_or_later(void)
{
	return now + (rand() % 4 == 0 ? rand() % 50 : rand() % SPAN_MS);
}

static void fire(struct timer *timer)
{
	struct test_timer *t = container_of(timer, struct test_timer, timer);

	fired++;
	early += t->deadline > now;
	t->deadline = CLOCK_NEVER;
	if (rand() % 2 == 0)
		set(t, soon_or_later());
	if (rand() % 8 == 0)
		clear(&timers[rand() % TIMERS]);
	if (rand() % 8 == 0)
		set(&timers[rand() % TIMERS], now);
}

/* The earliest deadline of all, by going through them. */
static int64_t earliest(void)
{
	int64_t least = CLOCK_NEVER;

	for (int i = 0; i < TIMERS; i++)
		least = clock_earlier(least, timers[i].deadline);
	return least;
}

/* Few timers leave the wheel empty for long; many have each other moved. */
static void run(int count)
{
	for (int turn = 0; turn < TURNS; turn++) {
		struct test_timer *t = &timers[rand() % count];
		int64_t due, wait = rand() % 100;

		if (rand() % 4 == 0)
			clear(t);
		else
			set(t, soon_or_later());
		due = wheel_next(&wheel);
		/* Up to a tick late is as it should be; to sleep longer is not. */
		late += earliest() != CLOCK_NEVER && due > earliest() + WHEEL_TICK_MS;
		now += rand() % 50 == 0 ? SPAN_MS : wait;
		wheel_run(&wheel, now);
		late += earliest() < now - WHEEL_TICK_MS;
	}
	for (int i = 0; i < TIMERS; i++)
		clear(&timers[i]);
	CHECK(wheel_next(&wheel) == CLOCK_NEVER, "nothing is set");
}

int main(void)
{
	srand(20);
	now = 123456789;
	wheel_init(&wheel, now);
	for (int i = 0; i < TIMERS; i++)
		timers[i] = (struct test_timer){.timer = {.fire = fire}, .deadline = CLOCK_NEVER};
	CHECK(wheel_next(&wheel) == CLOCK_NEVER, "nothing is set");
	run(1);
	run(3);
	run(TIMERS);
	CHECK(early == 0, "%d fired early", early);
	CHECK(late == 0, "%d were late", late);
	CHECK(fired > TURNS, "only %d fired", fired);
	return unit_end();
}
