/* The timer wheel; see wheel.h. Slot of a tick: tick modulo WHEEL_SLOTS. */
#include "wheel.h"

#include <stddef.h>

#include "clock.h"

static unsigned slot_of(int64_t tick)
{
	return (unsigned)(tick % WHEEL_SLOTS);
}

/* The first tick whose beginning is not before the deadline. */
static int64_t tick_of(int64_t deadline)
{
	return (deadline + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
}

void wheel_init(struct wheel *wheel, int64_t now)
{
	*wheel = (struct wheel){.tick = now / WHEEL_TICK_MS};
	wheel->earliest = wheel->tick;
}

static void unlink_timer(struct wheel *wheel, struct timer *timer)
{
	unsigned slot = slot_of(timer->tick);

	*timer->link = timer->next;
	if (timer->next != NULL)
		timer->next->link = timer->link;
	timer->link = NULL;
	if (wheel->slots[slot] == NULL)
		wheel->used[slot / 64] &= ~((uint64_t)1 << slot % 64);
}

static void link_timer(struct wheel *wheel, struct timer *timer)
{
	int64_t tick = tick_of(timer->deadline);
	unsigned slot;

	if (tick < wheel->tick)
		tick = wheel->tick;
	if (tick >= wheel->tick + WHEEL_SLOTS)
		tick = wheel->tick + WHEEL_SLOTS - 1;
	slot = slot_of(tick);
	timer->tick = tick;
	timer->next = wheel->slots[slot];
	timer->link = &wheel->slots[slot];
	if (timer->next != NULL)
		timer->next->link = &timer->next;
	wheel->slots[slot] = timer;
	wheel->used[slot / 64] |= (uint64_t)1 << slot % 64;
	if (tick < wheel->earliest)
		wheel->earliest = tick;
}

void timer_set(struct wheel *wheel, struct timer *timer, int64_t deadline)
{
	if (deadline == CLOCK_NEVER) {
		timer_clear(wheel, timer);
		return;
	}
	timer->deadline = deadline;
	if (timer->link != NULL) {
		if (tick_of(deadline) >= timer->tick)
			return; /* it is put again when its slot comes round */
		unlink_timer(wheel, timer);
	}
	link_timer(wheel, timer);
}

void timer_clear(struct wheel *wheel, struct timer *timer)
{
	timer->deadline = CLOCK_NEVER;
	if (timer->link != NULL)
		unlink_timer(wheel, timer);
}

int64_t wheel_next(struct wheel *wheel)
{
	int64_t end = wheel->tick + WHEEL_SLOTS;
	int64_t tick = wheel->earliest > wheel->tick ? wheel->earliest : wheel->tick;

	while (tick < end) {
		unsigned slot = slot_of(tick);
		uint64_t word = wheel->used[slot / 64] >> slot % 64;

		if (word & 1) {
			wheel->earliest = tick;
			return tick * WHEEL_TICK_MS;
		}
		tick += word == 0 ? 64 - slot % 64 : 1;
	}
	wheel->earliest = end;
	return CLOCK_NEVER;
}

void wheel_run(struct wheel *wheel, int64_t now)
{
	int64_t last = now / WHEEL_TICK_MS;

	while (wheel->tick <= last) {
		int64_t due = wheel_next(wheel);
		struct timer *timer;

		if (due == CLOCK_NEVER || due / WHEEL_TICK_MS > last) {
			wheel->tick = last; /* a slot is run again while its tick lasts */
			return;
		}
		wheel->tick = due / WHEEL_TICK_MS;
		timer = wheel->slots[slot_of(wheel->tick)];
		unlink_timer(wheel, timer);
		if (timer->deadline > now) {
			/* Moved away meanwhile. A deadline inside this tick belongs to the next
			 * one. */
			if (timer->deadline != CLOCK_NEVER)
				link_timer(wheel, timer);
			continue;
		}
		timer->deadline = CLOCK_NEVER;
		timer->fire(timer);
	}
}
