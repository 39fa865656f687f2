/*
 * What the master makes of a configuration before it is in force: how much of everything it takes,
 * its log, and what its services need open. At the start and at each reload.
 */
#ifndef LASTCALL_SETUP_H
#define LASTCALL_SETUP_H

#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "config.h"
#include "log.h"

/* How many workers; `auto` is one per CPU. */
size_t setup_workers(const struct config *config);

/* How many listeners may be open at once; `auto` is as many as the limit of descriptors leaves room
 * for. */
int64_t setup_listeners(const struct config *config);

/* Places for listeners: those that are open, and those whose last connections are still served.
 * max_listeners is a number by then. */
size_t setup_places(const struct config *config);

/*
 * How many descriptors are open beside the connections: listeners, each perhaps with a folder of
 * its own, what services open, the pool's, and a few more. Clients of control are the master's
 * alone, which has room for them where a worker has its connections.
 */
size_t setup_descriptors(const struct config *config, size_t workers);

/* Opens the log. Returns 0, or -1 with why; it is then standard error. */
int setup_log(struct log *log, const struct config *config, char *why, size_t size);
void setup_log_close(struct log *log);

/* Has every service open what it needs. Returns 0, or -1 with why; setup_release is due in both
 * cases. */
int setup_services(
    const struct config *config, const struct account *workers, char *why, size_t size);
void setup_release(const struct config *config);

#endif
