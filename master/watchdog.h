/* The watchdog: sees that every worker still turns its loop. */
#ifndef LASTCALL_WATCHDOG_H
#define LASTCALL_WATCHDOG_H

#include <stdint.h>

#define WATCHDOG_LOOK_MS 1000 /* between looks at the hearts, which beat once a second */
#define WATCHDOG_LATE_MS 2500 /* a heart is late: its siblings are told to try */

struct pool;

/* Looks, if it is time: wakes the siblings of one that is late, and ends one that has been silent
 * for `watchdog`. */
void watchdog_look(struct pool *pool, int64_t now);

#endif
