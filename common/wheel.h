/*
 * Timers at O(1): a wheel of slots of WHEEL_TICK_MS. A timer fires up to one tick late, never
 * early. Moving a deadline away, which every request does, costs an assignment: the timer stays
 * where it is, and when its slot comes round it is put where it belongs by then.
 */
#ifndef LASTCALL_WHEEL_H
#define LASTCALL_WHEEL_H

#include <stdint.h>

#define WHEEL_TICK_MS 16
#define WHEEL_SLOTS 1024 /* about 16 s; what is later waits in the last slot and is put again */

struct timer {
	struct timer *next, **link; /* link: what points to this one; NULL: not on the wheel */
	int64_t deadline; /* ms; CLOCK_NEVER: not set */
	int64_t tick; /* where it stands on the wheel */
	void (*fire)(struct timer *timer);
};

struct wheel {
	int64_t tick; /* every earlier one has been run */
	int64_t earliest; /* no timer stands before it */
	uint64_t used[WHEEL_SLOTS / 64];
	struct timer *slots[WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, int64_t now);

/* Sets or moves a timer (zeroed, with fire set, before its first use). deadline is clock_ms()
 * based. */
void timer_set(struct wheel *wheel, struct timer *timer, int64_t deadline);

/* Clears it; it does not fire. Any number of times. */
void timer_clear(struct wheel *wheel, struct timer *timer);

/* When wheel_run is due next, or CLOCK_NEVER. */
int64_t wheel_next(struct wheel *wheel);

/* Fires what is due. fire() may set and clear any timer. */
void wheel_run(struct wheel *wheel, int64_t now);

#endif
