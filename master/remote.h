/*
 * The client commands: each asks a running daemon over its control endpoint, and tells a person or
 * a script what came of it. What goes to standard output is the answer alone; all else, as one line
 * that begins with "lastcall: error: COMMAND: ", goes to standard error.
 */
#ifndef LASTCALL_REMOTE_H
#define LASTCALL_REMOTE_H

#include <stdio.h>

#include "client.h"
#include "command.h"

/* The commands; `stop` is that without a pid file, `renewal` is `reload` and `upgrade`. */
int remote_run_open(const struct command *command, const struct options *options);
int remote_run_close(const struct command *command, const struct options *options);
int remote_run_cancel(const struct command *command, const struct options *options);
int remote_run_ping(const struct command *command, const struct options *options);
int remote_run_renewal(const struct command *command, const struct options *options);
int remote_run_reopen(const struct command *command, const struct options *options);
int remote_run_workers(const struct command *command, const struct options *options);
int remote_run_stop(const struct command *command, const struct options *options);

/* ---- what they share with `lease` and `status` ---- */

/* Connects to the daemon that the options mean. Returns the same as client_open, and has said why
 * it failed but for CLIENT_ABSENT. */
enum client_result remote_connect(const struct command *command, const struct options *options,
    struct client *client, int64_t deadline, char *why, size_t size);

/* The exit status of that. */
int remote_status(enum client_result result);

/* The same for a command that has nothing to do without a daemon. Returns STATUS_DONE, or a status
 * after it said what is wrong. */
int remote_connect_or_fail(
    const struct command *command, const struct options *options, struct client *client);

/* Says an error of a command. Returns STATUS_FAILED. */
int remote_error(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says what an answer that is not `ok` tells. Returns the exit status. */
int remote_refused(const struct command *command, const struct reply *reply);

/*
 * Reads ADDR as it is sent: a name looked up (the first of its addresses), a Unix path made
 * absolute. Returns STATUS_DONE, or a status after it said what is wrong.
 */
int remote_address(const struct command *command, const char *text, struct address *out);

/* What `open` and `lease` want: an address and a service. Returns STATUS_DONE or STATUS_USAGE. */
int remote_misused_service(const struct command *command, const struct options *options);

/* Sends a request and waits for its answer. Returns STATUS_DONE with an `ok` in reply, or a status
 * after it said what is wrong. */
int remote_ask(const struct command *command, struct client *client, struct request *request,
    int64_t deadline, struct reply *reply);

/* The same for `open` and `lease`, whose address and service are added to the request; the address
 * bound is reply->words[1]. */
int remote_ask_open(const struct command *command, const struct options *options,
    struct client *client, struct request *request, const struct address *address,
    struct reply *reply);

/* Adds folder=, where the services of this client start from, if the request can have use for it.
 */
void remote_add_folder(
    struct request *request, const struct client *client, const struct options *options);

/* Adds NAME=DURATION; nothing when it is -1. */
void remote_add_duration(struct request *request, const char *name, int64_t milliseconds);

/* Writes "127.0.0.1:80: closed in 3 ms: 12 accepted, 12 answered, 0 cut" and a line end. */
void remote_print_receipt(FILE *out, const char *address, const struct receipt *receipt);

/* What was printed has to have arrived, or a script would go on with nothing. Returns status, or
 * STATUS_FAILED. */
int remote_printed(const struct command *command, int status);

#endif
