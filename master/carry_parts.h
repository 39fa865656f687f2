/*
 * What each part of the master leaves to the program that replaces it, and takes up again there;
 * carry.c is the form, state.c puts the parts together.
 *
 * X_leave writes the lines of a part, X_resume takes the line that was read and makes of it what
 * was there. Where resume returns -1 the carry_in says why. What is resumed is as it was, but that
 * the loop watches nothing of it yet: a rehearsal must leave that to the server that goes on.
 */
#ifndef LASTCALL_CARRY_PARTS_H
#define LASTCALL_CARRY_PARTS_H

#include "carry.h"
#include "state.h"

/* A service by the configuration that has it and its place there: config=0 is the one in force,
 * the others follow in the order of reload->older. */
void service_leave(
    struct carry_out *out, const struct parts *parts, const struct service_config *service);
int service_resume(struct carry_in *in, const struct parts *parts, struct service_config **service);

/* The configuration that has a service, or NULL. */
const struct config *config_having(const struct parts *parts, const struct service_config *service);

/* The configuration of that number, or NULL; and the number of one. */
const struct config *config_numbered(const struct parts *parts, uint64_t number);
uint64_t config_number(const struct parts *parts, const struct config *config);

void manager_leave(struct carry_out *out, const struct parts *parts);
int manager_resume(struct carry_in *in, const struct parts *parts); /* a `manager` line */
int passed_resume(struct carry_in *in, const struct parts *parts);
int gone_resume(struct carry_in *in, const struct parts *parts); /* from the store */

void listeners_leave(struct carry_out *out, const struct parts *parts);
int listeners_resume(struct carry_in *in, const struct parts *parts); /* a `listeners` line */
int listener_resume(struct carry_in *in, const struct parts *parts); /* a `listener` line */
int listeners_resumed(struct carry_in *in, const struct parts *parts); /* after the last of them */

void pool_leave(struct carry_out *out, const struct parts *parts);
int pool_resume(struct carry_in *in, const struct parts *parts); /* a `pool` line */
int bell_resume(struct carry_in *in, const struct parts *parts);
int worker_resume(struct carry_in *in, const struct parts *parts);
int seat_resume(struct carry_in *in, const struct parts *parts);
int pool_resumed(struct carry_in *in, const struct parts *parts);

void control_leave(struct carry_out *out, const struct parts *parts);
int control_resume(struct carry_in *in, const struct parts *parts); /* a `control` line */
int endpoint_resume(struct carry_in *in, const struct parts *parts);
int client_resume(struct carry_in *in, const struct parts *parts);
int lease_resume(struct carry_in *in, const struct parts *parts); /* which client holds which */
int waiter_resume(struct carry_in *in, const struct parts *parts); /* which waits for which */

#endif
