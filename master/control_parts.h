/*
 * What the files of control share with each other and with nobody else: control_endpoint.c owns the
 * endpoints, control_client.c what is at the other end of a connection, control_request.c what it
 * may say, control_status.c what `status` tells; control.c puts them together.
 */
#ifndef LASTCALL_CONTROL_PARTS_H
#define LASTCALL_CONTROL_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.h"
#include "control_line.h"
#include "policy.h"
#include "wheel.h"

#define CONTROL_CLIENTS_MAX 1024 /* of one endpoint; another is told that it is busy */
#define CONTROL_CLIENTS_RESERVED 16 /* more of them for the daemon's own user and root */
#define CONTROL_CLIENTS_ALL                                                                        \
	(CONTROL_ENDPOINTS_MAX * (CONTROL_CLIENTS_MAX + CONTROL_CLIENTS_RESERVED))
#define CONTROL_FDS_LEFT 64 /* that clients never take, beside a worker's and a listener's each */
#define CONTROL_SLOW_MS 5000 /* for a whole line to come, and for what was said to be taken */
#define CONTROL_PENDING_MAX 16384 /* bytes that are not taken; then no request is read */

/* ---- endpoints ---- */

struct control_token {
	size_t length;
	unsigned char bytes[CONTROL_LINE_MAX]; /* the rest is 0 */
};

/* Another configuration may have it with other rules, not have it, or have others: that is planned
 * first, and then adopted. */
struct control_endpoint {
	struct control *control; /* NULL: the place is vacant */
	int number; /* no other endpoint ever has it: what is opened here is known by it */
	const struct control_config *config;
	struct policy policy;
	struct control_token *token; /* NULL: none is asked for */
	struct watch watch;
	struct path_socket *path; /* of a Unix socket; its descriptor is watch's */
	char text[ADDRESS_TEXT]; /* what it is bound to */
	bool planned; /* opened for a configuration that is not in force yet */
	bool leaving; /* none takes it up any more: it goes with its last client */
	const struct control_config *next; /* its rules in that configuration, NULL: none, */
	struct policy next_policy;
	struct control_token *next_token;
	size_t clients;
	int fd_most; /* of a client's descriptor: those above are for workers and listeners */
	int64_t paused_until; /* ms: accept ran out of something; CLOCK_NEVER: it did not */
	unsigned last_port; /* that was chosen for port 0 */
};

/*
 * Opens what config says. Returns 0 with *out set, or -1 with why; *out is then NULL, or to be
 * closed.
 */
int endpoint_open(struct control_endpoint **out, struct control *control,
    const struct control_config *config, char *why, size_t size);
void endpoint_close(struct control_endpoint *endpoint);

/* An endpoint with those rules, whose socket and token are still to be set. Returns NULL with errno
 * ENOMEM, or ENFILE: there is no place for it. */
struct control_endpoint *endpoint_make(
    struct control *control, const struct control_config *config);

/* One that was planned takes clients from now on. Returns 0, or -1 with errno. */
int endpoint_begin(struct control_endpoint *endpoint);

/* Plans other rules. Returns 0, or -1 with why; takes a plan back; adopts it. */
int endpoint_plan(
    struct control_endpoint *endpoint, const struct control_config *next, char *why, size_t size);
void endpoint_unplan(struct control_endpoint *endpoint);
void endpoint_adopt(struct control_endpoint *endpoint);

/* Takes no more clients. It is closed with the last of those that it has. */
void endpoint_leave(struct control_endpoint *endpoint);

/* In a child: closes its copy, and wipes the token. */
void endpoint_detach(struct control_endpoint *endpoint);

/* Accepts again after a pause. Returns when to call again. */
int64_t endpoint_step(struct control_endpoint *endpoint, int64_t now);

/* Whether it is the token, in a time that does not depend on where they differ. */
bool endpoint_knows(const struct control_endpoint *endpoint, const char *secret);

/* ---- clients ---- */

enum client_state { CLIENT_READING, CLIENT_WAITING, CLIENT_REPORTING, CLIENT_CLOSING };

/* Bytes that are to be written. */
struct control_buffer {
	char *bytes;
	size_t length, room;
};

/* How far `status` has come. */
struct control_report {
	enum { REPORT_SERVER, REPORT_LISTENERS, REPORT_WORKERS, REPORT_END, REPORT_OVER } part;
	size_t at; /* of the listeners or the workers */
};

struct control_client {
	struct control *control;
	struct control_endpoint *endpoint;
	struct watch watch;
	struct timer timer;
	enum client_state state;
	struct owner owner;
	bool trusted; /* the daemon's own user or root */
	bool revoked; /* the rules that it came in by are no more: it keeps what it has */
	bool admitted; /* it has shown the token, where one is asked for */
	bool ended; /* it sends no more */
	bool broken; /* nothing reaches it any more */
	bool shut; /* we send no more */

	int64_t since; /* ms: its connection, or the answer before; of CLOSING, its begin */
	int64_t line_since; /* ms: when what is in `in` began to come */
	int64_t out_since; /* ms: when what is in `out` began to wait */
	int64_t heartbeat; /* ms; 0: it promised none */
	int64_t heard; /* ms: its last line */

	struct port_holder holder; /* of its leases */
	struct port_waiter waiter; /* for a close */
	bool waits_for_stop;
	unsigned waits_for_reload; /* its number; 0: it does not */
	bool waits_for_upgrade;
	unsigned waits_for_reopen; /* the same for the logs */
	struct control_report report;

	struct control_buffer out; /* sent of it are written */
	size_t sent;
	struct control_buffer late; /* said while a report is under way */
	size_t in_length;
	char in[CONTROL_LINE_MAX + 1]; /* a line, and the NUL that splitting it wants */

	uint64_t number; /* which an upgrade knows it by */
	struct control_client *next, **link; /* of all */
	struct control_client *next_busy;
	bool busy; /* it is on that list */
};

/*
 * A connection that was accepted: fd is the client's from here on, also when this fails. Returns
 * it, or NULL with errno.
 */
struct control_client *client_new(
    struct control_endpoint *endpoint, int fd, const struct owner *owner, bool trusted);

/* Closes the connection, and frees it. Its leases end; with client_drop they are left as they are,
 * for the ports are not looked at any more. */
void client_gone(struct control_client *client, int64_t now);
void client_drop(struct control_client *client);

/* Goes on with what it sent and with what it is told, as far as a turn goes; it may be gone then.
 */
void client_run(struct control_client *client, int64_t now);

/* Has client_run called soon; client_wake from where no control_step need follow, too. */
void client_queue(struct control_client *client);
void client_wake(struct control_client *client);

/* Says a line; ends it. */
void client_say(struct control_client *client, struct line_out *line);

/* Says a line that is no answer: not in the middle of one. */
void client_tell(struct control_client *client, struct line_out *line);

/* Says `error CODE TEXT`; one that closes is the last. */
void client_error(struct control_client *client, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The answer that it waited for was said. */
void client_answered(struct control_client *client, int64_t now);

/* The one setter of its state. */
void client_set_state(struct control_client *client, enum client_state state, int64_t now);

/* Writes what there is as far as it is taken at once. */
void client_flush(struct control_client *client, int64_t now);

/* Appends the words of a receipt. */
void control_put_receipt(struct line_out *line, const struct receipt *receipt);

/* Writes a refusal to the log, unless there are too many of them. */
void control_complain(
    const struct control_client *client, const char *code, const char *text, int64_t now);

/* The clients of an endpoint whose rules have changed: those who would not be let in now, or all
 * where policy is NULL, get nothing more. */
void control_revoke(const struct control_endpoint *endpoint, const struct policy *policy);

/* ---- requests ---- */

/* Answers a line, or begins to. text has no line end, and room for a byte behind it. */
void request_handle(struct control_client *client, char *text, size_t length, int64_t now);

/* What a client is told when a close that it waited for, or a lease of it, has ended. */
void request_close_told(struct port_waiter *waiter, const struct listener *listener,
    enum port_event event, const struct receipt *receipt);
void request_lease_told(struct port_holder *holder, const struct listener *listener,
    enum close_reason reason, const struct receipt *receipt);

/* What a client is told of a reload that it asked for. */
void request_reload_told(struct control_client *client, const struct control_reload *told);

/* The same for the logs. */
void request_reopen_told(struct control_client *client, const struct control_reopen *told);

/* Writes the next line of a report to an empty line. Returns false when it is over. */
bool report_line(const struct control *control, struct control_report *report,
    struct line_out *line, int64_t now);

#endif
