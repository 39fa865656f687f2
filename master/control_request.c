/*
 * What a client of control may say (PROTOCOL), as a table, and what each does.
 *
 * A request is answered at once, or its client is set to WAITING or REPORTING. What the policy says
 * is asked here and nowhere else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "control_parts.h"
#include "diagnostics.h"
#include "gate.h"
#include "handover.h"

#define PORTS_TRIED 32 /* of allow-ports that others may have, for one request for port 0 */

/* One request that was read. */
struct request {
	const char *const *words; /* behind its options */
	size_t count;
	struct line_options options;
	int64_t now;
};

typedef void request_function(struct control_client *client, const struct request *request);

struct request_row {
	const char *name;
	const char *usage;
	const struct directive *options; /* NULL: none */
	size_t min, max; /* words behind the options */
	request_function *run;
};

static request_function request_reload, request_reopen, request_workers, request_open,
    request_lease, request_close, request_cancel, request_status, request_stop, request_ping,
    request_token, request_help, request_upgrade;

static const struct request_row rows[] = {
    {"open", "open [folder=PATH] ADDR SERVICE [ARG...]", line_open_options, 2, LINE_WORDS_MAX,
	request_open},
    {"lease", "lease [folder=PATH] [ttl=DURATION] [heartbeat=DURATION] ADDR SERVICE [ARG...]",
	line_lease_options, 2, LINE_WORDS_MAX, request_lease},
    {"close", "close [grace=DURATION] ADDR", line_close_options, 1, 1, request_close},
    {"cancel", "cancel ADDR", NULL, 1, 1, request_cancel},
    {"status", "status", NULL, 0, 0, request_status},
    {"reload", "reload", NULL, 0, 0, request_reload},
    {"upgrade", "upgrade", NULL, 0, 0, request_upgrade},
    {"reopen", "reopen", NULL, 0, 0, request_reopen},
    {"workers", "workers N", NULL, 1, 1, request_workers},
    {"stop", "stop [now=on]", line_stop_options, 0, 0, request_stop},
    {"ping", "ping", NULL, 0, 0, request_ping},
    {"token", "token SECRET", NULL, 1, 1, request_token},
    {"help", "help", NULL, 0, 0, request_help},
};
#define ROWS (sizeof rows / sizeof *rows)

/* ---- saying ---- */

static void say_ok(struct control_client *client)
{
	struct line_out line = {.length = 0};

	line_put_word(&line, "", "ok");
	client_say(client, &line);
}

void control_put_receipt(struct line_out *line, const struct receipt *receipt)
{
	line_put_number(line, "milliseconds=", receipt->milliseconds);
	line_put_number(line, "accepted=", (int64_t)receipt->accepted);
	line_put_number(line, "answered=", (int64_t)receipt->answered);
	line_put_number(line, "queued=", (int64_t)receipt->queued);
	line_put_number(line, "left=", (int64_t)receipt->left);
	line_put_number(line, "open=", (int64_t)receipt->open);
	line_put_number(line, "cut=", (int64_t)receipt->cut);
	if (receipt->programs_done + receipt->programs_failed + receipt->programs_killed == 0)
		return;
	line_put_number(line, "programs-done=", (int64_t)receipt->programs_done);
	line_put_number(line, "programs-failed=", (int64_t)receipt->programs_failed);
	line_put_number(line, "programs-killed=", (int64_t)receipt->programs_killed);
}

/* A refusal that whoever runs the server may want to know of. */
static void refuse(struct control_client *client, const char *code, const char *text, int64_t now)
{
	client->control->refused++;
	control_complain(client, code, text, now);
	client_error(client, code, "%s", text);
}

/* Says what the policy said. Returns whether it allows. */
static bool allowed(
    struct control_client *client, enum policy_verdict verdict, const char *why, int64_t now)
{
	static const char *const codes[] = {
	    [POLICY_DENIES] = "denied",
	    [POLICY_FORBIDS] = "policy",
	    [POLICY_NOT_YOURS] = "not-yours",
	};

	if (verdict == POLICY_ALLOWS)
		return true;
	if (verdict == POLICY_FULL)
		client_error(client, "too-many", "%s", why);
	else
		refuse(client, codes[verdict], why, now);
	return false;
}

/* ---- open and lease ---- */

/* What is asked for, before anything is made of it. */
struct wish {
	struct address address;
	const char *asked; /* the address as it was written */
	struct service_config *named; /* one of the configuration, or */
	const struct service_kind *kind; /* a kind, with these arguments */
	const char *const *words;
	size_t count;
};

/* Reads the address. Returns 0, or -1 with the error told. */
static int read_address(
    struct control_client *client, const struct request *request, struct wish *wish)
{
	const char *text = request->words[0], *folder = request->options.folder;
	char absolute[ADDRESS_TEXT];
	const char *why = "a relative path starts from folder=, which is missing";
	bool relative = strncmp(text, "unix:", 5) == 0 && strchr("/@", text[5]) == NULL;
	int result = -1;

	wish->asked = text;
	if (relative && folder != NULL) {
		int length = snprintf(absolute, sizeof absolute, "unix:%s/%s", folder, text + 5);

		why = "the path is too long for a Unix socket";
		if (length < (int)sizeof absolute)
			result = address_parse(&wish->address, absolute, &why);
	} else if (!relative) {
		result = address_parse(&wish->address, text, &why);
	}
	if (result == 0 && wish->address.form == ADDRESS_NAME) {
		why = "the client looks names up; send an address";
		result = -1;
	} else if (result == 0 && wish->address.form == ADDRESS_FD) {
		why = "a socket passed by a service manager cannot be opened by a client";
		result = -1;
	}
	if (result == -1)
		client_error(client, "address", "%.280s: %s", text, why);
	return result;
}

/* Names the one that may be meant, to whoever may know of them all. */
static void unknown_service(struct control_client *client, const char *name)
{
	const char *names[CONFIG_SERVICES_MAX + 32], *near = NULL;
	size_t count = 0;

	for (const struct service_config *at = client->control->config->services;
	     at != NULL && count < CONFIG_SERVICES_MAX; at = at->next)
		names[count++] = at->name;
	for (size_t i = 0; i < 31 && service_kinds[i] != NULL; i++)
		names[count++] = service_kinds[i]->name;
	names[count] = NULL;
	if (client->trusted)
		near = diagnostics_nearest(name, names);
	if (near != NULL)
		client_error(client, "unknown-service",
		    "there is no service %.80s; did you mean %s?", name, near);
	else
		client_error(client, "unknown-service", "there is no service %.80s", name);
}

/* Finds the service. Returns 0, or -1 with the error told. */
static int find_service(
    struct control_client *client, const struct request *request, struct wish *wish)
{
	const char *name = request->words[1];

	wish->words = request->words + 2;
	wish->count = request->count - 2;
	wish->named = config_find_service(client->control->config, name);
	if (wish->named == NULL)
		wish->kind = service_kind_find(name);
	if (wish->named == NULL && wish->kind == NULL &&
	    (client->trusted || policy_names(&client->endpoint->policy, name))) {
		unknown_service(client, name);
		return -1;
	}
	if (wish->named != NULL && client->control->next != NULL) {
		const struct service_config *next =
		    config_find_service(client->control->next, name);

		if (next == NULL || next->kind != wish->named->kind) {
			client_error(client, "unknown-service",
			    "service %.80s goes away with the reload that is under way", name);
			return -1;
		}
	}
	if (wish->named != NULL && wish->count > 0) {
		client_error(client, "service",
		    "service %.80s takes no arguments; its options stand in the configuration",
		    name);
		return -1;
	}
	return 0;
}

/* How many ports of this endpoint there are, with those that still have connections. */
static size_t count_open(const struct control_client *client)
{
	const struct listeners *listeners = client->control->ports->listeners;
	size_t count = 0;

	if (client->endpoint->config->max_leases == DIRECTIVE_AUTO)
		return 0; /* nobody asks */
	for (size_t i = 0; i < listeners->count; i++)
		if (listeners->all[i].state != LISTENER_VACANT &&
		    listeners->all[i].owner.endpoint == client->owner.endpoint)
			count++;
	return count;
}

/* Opens one address. The code is a constant; why says more. Returns NULL, or the code. */
static const char *open_one(struct control_client *client, const struct request *request,
    const struct wish *wish, bool lease, struct listener **out, char *why, size_t size)
{
	struct ports *ports = client->control->ports;
	struct service_config *service = wish->named;
	struct listener *other;
	enum port_fault fault;

	if (service == NULL)
		service = config_make_service(
		    wish->kind, wish->words, wish->count, request->options.folder, why, size);
	if (service == NULL)
		return "service";
	const struct open_request asked = {
	    .address = &wish->address,
	    .asked = wish->asked,
	    .service = service,
	    .service_is_ours = wish->named == NULL,
	    .origin = lease ? ORIGIN_LEASED : ORIGIN_OPENED,
	    .owner = client->owner,
	    .ttl = request->options.ttl,
	    .holder = lease ? &client->holder : NULL,
	};

	fault = ports_open(ports, &asked, request->now, out, why, size);
	client->control->acted = true;
	if (fault == PORT_OK)
		return NULL;
	other = fault == PORT_IN_USE ? ports_find(ports, wish->address.text) : NULL;
	return other != NULL && other->state == LISTENER_CLOSING ? "closing"
								 : port_fault_word(fault);
}

static void set_port(struct address *address, unsigned port)
{
	address->port = port;
	if (address->socket.any.sa_family == AF_INET)
		address->socket.in.sin_port = htons((in_port_t)port);
	else
		address->socket.in6.sin6_port = htons((in_port_t)port);
}

/* The port of allow-ports that is next behind another, round and round. */
static unsigned next_port(const struct policy *policy, unsigned after)
{
	unsigned port = policy_port(policy, after);

	return port != 0 ? port : policy_port(policy, 0);
}

/*
 * One round over allow-ports, behind the last one that was tried: of those that we listen on at
 * some address, or of the others. Returns as open_one; *tries are left.
 */
static const char *open_of(struct control_client *client, const struct request *request,
    struct wish *wish, bool lease, bool ours, int *tries, struct listener **out, char *why,
    size_t size)
{
	struct control_endpoint *endpoint = client->endpoint;
	const struct listeners *listeners = client->control->ports->listeners;
	unsigned first = next_port(&endpoint->policy, endpoint->last_port), port = first;

	do {
		if (listeners_use_port(listeners, port) == ours && (*tries)-- > 0) {
			const char *code;

			set_port(&wish->address, port);
			code = open_one(client, request, wish, lease, out, why, size);
			endpoint->last_port = port;
			if (code == NULL ||
			    (strcmp(code, "in-use") != 0 && strcmp(code, "closing") != 0))
				return code;
		}
		port = next_port(&endpoint->policy, port);
	} while (port != first && *tries > 0);
	return "in-use";
}

/*
 * Opens one of the ports that allow-ports has, each in turn. Those that we listen on at some
 * address come last, for most of them are not free at this one either. A request tries so many and
 * no more; the next one goes on behind the last.
 */
static const char *open_allowed(struct control_client *client, const struct request *request,
    struct wish *wish, bool lease, struct listener **out, char *why, size_t size)
{
	int tries = PORTS_TRIED;
	const char *code = open_of(client, request, wish, lease, false, &tries, out, why, size);

	if (code != NULL && strcmp(code, "in-use") == 0)
		code = open_of(client, request, wish, lease, true, &tries, out, why, size);
	if (code != NULL && strcmp(code, "in-use") == 0)
		snprintf(why, size, "%s",
		    tries > 0 ? "no port of allow-ports is free at that address"
			      : "others have the ports that were tried; ask again for the next");
	return code;
}

static void open_port(struct control_client *client, const struct request *request, bool lease)
{
	const struct policy *policy = &client->endpoint->policy;
	struct wish wish = {.kind = NULL};
	struct listener *listener = NULL;
	struct line_out line = {.length = 0};
	char why[512] = "", url[ADDRESS_TEXT + 16];
	const char *code;

	if (read_address(client, request, &wish) == -1 ||
	    find_service(client, request, &wish) == -1)
		return;
	const struct policy_request asked = {
	    .service = request->words[1],
	    .in_place = wish.count > 0,
	    .address = &wish.address,
	    .open = count_open(client),
	};

	if (!allowed(client, policy_open(policy, client->trusted, &asked, why, sizeof why), why,
		request->now))
		return;
	if (policy->config->allow_ports != NULL && wish.address.port == 0 &&
	    wish.address.form != ADDRESS_UNIX)
		code = open_allowed(client, request, &wish, lease, &listener, why, sizeof why);
	else
		code = open_one(client, request, &wish, lease, &listener, why, sizeof why);
	if (code != NULL) {
		client_error(client, code, "%s", why);
		return;
	}
	line_put_word(&line, "", "ok");
	line_put_word(&line, "", listener->text);
	if (*listener_url(listener, url, sizeof url) != '\0')
		line_put_word(&line, "", url);
	client_say(client, &line);
}

static void request_open(struct control_client *client, const struct request *request)
{
	open_port(client, request, false);
}

static void request_lease(struct control_client *client, const struct request *request)
{
	size_t before = client->holder.count;
	int64_t heartbeat = request->options.heartbeat;

	open_port(client, request, true);
	if (client->holder.count == before || heartbeat == 0)
		return;
	/* One promise for all leases of a connection: the strictest that holds. */
	if (client->heartbeat == 0 || before == 0 || heartbeat < client->heartbeat)
		client->heartbeat = heartbeat;
	client->heard = request->now;
}

void request_lease_told(struct port_holder *holder, const struct listener *listener,
    enum close_reason reason, const struct receipt *receipt)
{
	struct control_client *client = container_of(holder, struct control_client, holder);
	struct line_out line = {.length = 0};

	line_put_word(&line, "", "closed");
	line_put_word(&line, "", listener->text);
	line_put_word(&line, "reason=", close_reason_word(reason));
	control_put_receipt(&line, receipt);
	client_tell(client, &line);
}

/* ---- close and cancel ---- */

/* The listener that is meant, or NULL with the error told. */
static struct listener *find_port(struct control_client *client, const char *text)
{
	const struct ports *ports = client->control->ports;
	struct listener *listener = ports_find(ports, text);
	char near[ADDRESS_TEXT * 3 + 16];

	if (listener != NULL && listener->state == LISTENER_CLOSED) {
		client_error(client, "unknown-address",
		    "%.280s is closed already, until the next reload", listener->text);
		return NULL;
	}
	if (listener != NULL)
		return listener;
	if (*ports_nearest(ports, text, near, sizeof near) != '\0')
		client_error(client, "unknown-address", "no open port is %.280s; the nearest: %s",
		    text, near);
	else
		client_error(client, "unknown-address", "no port is open");
	return NULL;
}

static bool may_close(
    struct control_client *client, const struct listener *listener, const struct request *request)
{
	char why[256];

	return allowed(client,
	    policy_close(&client->owner, client->trusted, listener, why, sizeof why), why,
	    request->now);
}

static void say_receipt(
    struct control_client *client, const struct listener *listener, const struct receipt *receipt)
{
	struct line_out line = {.length = 0};

	line_put_word(&line, "", "ok");
	line_put_word(&line, "", listener->text);
	control_put_receipt(&line, receipt);
	client_say(client, &line);
}

static void request_close(struct control_client *client, const struct request *request)
{
	struct ports *ports = client->control->ports;
	struct listener *listener = find_port(client, request->words[0]);
	int64_t grace = request->options.grace;
	bool own;

	if (listener == NULL || !may_close(client, listener, request))
		return;
	own = listener->holder == &client->holder;
	client->waiter.to_the_end = grace >= 0;
	client_set_state(client, CLIENT_WAITING, request->now);
	ports_close(ports, listener, own ? CLOSE_HOLDER : CLOSE_ASKED, grace, request->now);
	ports_wait(ports, listener, &client->waiter);
	client->control->acted = true;
}

void request_close_told(struct port_waiter *waiter, const struct listener *listener,
    enum port_event event, const struct receipt *receipt)
{
	struct control_client *client = container_of(waiter, struct control_client, waiter);

	if (event == PORT_CANCELLED)
		client_error(
		    client, "cancelled", "the close of %.280s was taken back", listener->text);
	else
		say_receipt(client, listener, receipt);
	client_answered(client, clock_ms());
	client_wake(client);
}

static void request_cancel(struct control_client *client, const struct request *request)
{
	struct ports *ports = client->control->ports;
	struct listener *listener = find_port(client, request->words[0]);
	struct line_out line = {.length = 0};

	if (listener == NULL || !may_close(client, listener, request))
		return;
	if (ports->stopping) {
		client_error(client, "stopping", "the server is stopping");
		return;
	}
	if (ports_cancel(ports, listener, request->now) == -1) {
		if (errno != EALREADY && errno != EOPNOTSUPP) {
			client_error(client, "failed", "the gate of %.280s cannot be undone: %s",
			    listener->text, strerror(errno));
			return;
		}
		client_error(client, "not-closing", "%.280s %s", listener->text,
		    listener->state == LISTENER_OPEN          ? "is open"
			: listener->state != LISTENER_CLOSING ? "was released already"
			: errno == EOPNOTSUPP                 ? "has a gate that cannot be undone"
							      : "closes for more than a request");
		return;
	}
	client->control->acted = true;
	line_put_word(&line, "", "ok");
	line_put_word(&line, "", listener->text);
	client_say(client, &line);
}

/* ---- the rest ---- */

static void request_status(struct control_client *client, const struct request *request)
{
	client->report = (struct control_report){.part = REPORT_SERVER};
	client_set_state(client, CLIENT_REPORTING, request->now);
}

static void request_stop(struct control_client *client, const struct request *request)
{
	struct control *control = client->control;

	if (!client->trusted) {
		refuse(
		    client, "denied", "stop is for the daemon's own user and root", request->now);
		return;
	}
	client->waits_for_stop = true;
	client_set_state(client, CLIENT_WAITING, request->now);
	control->acted = true;
	control->stop(control->owner, request->options.now);
}

static void request_reload(struct control_client *client, const struct request *request)
{
	struct control *control = client->control;

	if (!client->trusted) {
		refuse(
		    client, "denied", "reload is for the daemon's own user and root", request->now);
		return;
	}
	if (control->ports->no_more) {
		client_error(client, "stopping", "the server is stopping");
		return;
	}
	client_set_state(client, CLIENT_WAITING, request->now);
	control->acted = true;
	client->waits_for_reload = control->reload(control->owner);
}

static void request_upgrade(struct control_client *client, const struct request *request)
{
	struct control *control = client->control;

	if (!client->trusted) {
		refuse(client, "denied", "upgrade is for the daemon's own user and root",
		    request->now);
		return;
	}
	if (control->ports->no_more) {
		client_error(client, "stopping", "the server is stopping");
		return;
	}
	if (!control->upgrade(control->owner)) {
		client_error(
		    client, "failed", "a server that was made for one lease is not upgraded");
		return;
	}
	client_set_state(client, CLIENT_WAITING, request->now);
	control->acted = true;
	client->waits_for_upgrade = true;
}

/* Says what is wrong, a line each. */
static void say_diagnostics(struct control_client *client, const char *lines)
{
	char text[CONTROL_LINE_MAX / 4];

	for (const char *at = lines; *at != '\0';) {
		size_t length = strcspn(at, "\n");
		struct line_out line = {.length = 0};

		snprintf(text, sizeof text, "%.*s", (int)length, at);
		line_put_word(&line, "", "diagnostic");
		line_put_word(&line, "", text);
		client_say(client, &line);
		at += length + (at[length] == '\n');
	}
}

void request_reload_told(struct control_client *client, const struct control_reload *told)
{
	struct line_out line = {.length = 0};

	say_diagnostics(client, told->lines);
	if (!told->done) {
		client_error(client, told->wrong ? "configuration" : "failed", "%s", told->why);
		return;
	}
	line_put_word(&line, "", "ok");
	line_put_number(&line, "generation=", told->generation);
	client_say(client, &line);
}

static void request_reopen(struct control_client *client, const struct request *request)
{
	struct control *control = client->control;

	if (!client->trusted) {
		refuse(
		    client, "denied", "reopen is for the daemon's own user and root", request->now);
		return;
	}
	client_set_state(client, CLIENT_WAITING, request->now);
	control->acted = true;
	client->waits_for_reopen = control->reopen(control->owner);
}

void request_reopen_told(struct control_client *client, const struct control_reopen *told)
{
	struct line_out line = {.length = 0};

	say_diagnostics(client, told->lines);
	if (told->why[0] != '\0') {
		client_error(client, "failed", "%s", told->why);
		return;
	}
	line_put_word(&line, "", "ok");
	line_put_number(&line, "files=", (int64_t)told->files);
	client_say(client, &line);
}

static void request_workers(struct control_client *client, const struct request *request)
{
	struct control *control = client->control;
	const struct pool *pool = control->pool;
	struct line_out line = {.length = 0};
	char *end;
	unsigned long wanted;

	if (!client->trusted) {
		refuse(client, "denied", "workers is for the daemon's own user and root",
		    request->now);
		return;
	}
	wanted = strtoul(request->words[0], &end, 10);
	if (request->words[0][0] < '0' || request->words[0][0] > '9' || *end != '\0' ||
	    wanted == 0) {
		client_error(client, "syntax", "%.40s is no number of workers", request->words[0]);
		return;
	}
	if (control->ports->stopping) {
		client_error(client, "stopping", "the server is stopping");
		return;
	}
	if (!pool_want(control->pool, wanted)) {
		client_error(client, "too-many",
		    "%lu workers are more than were made room for at the start, which is %zu",
		    wanted, pool_most(pool));
		return;
	}
	log_write(control->log, LOG_NOTICE, "%lu worker%s, a client asked for it", wanted,
	    wanted == 1 ? "" : "s");
	control->acted = true;
	line_put_word(&line, "", "ok");
	line_put_number(&line, "workers=", (int64_t)wanted);
	client_say(client, &line);
}

static void request_ping(struct control_client *client, const struct request *request)
{
	(void)request;
	say_ok(client);
}

static void request_token(struct control_client *client, const struct request *request)
{
	if (client->endpoint->token == NULL) {
		client_error(client, "syntax", "this endpoint asks for no token");
	} else if (endpoint_knows(client->endpoint, request->words[0])) {
		client->admitted = true;
		say_ok(client);
	} else {
		refuse(client, "token", "the token is wrong", request->now);
	}
}

static void request_help(struct control_client *client, const struct request *request)
{
	(void)request;
	for (size_t i = 0; i < ROWS; i++) {
		struct line_out line = {.length = 0};

		line_put_text(&line, rows[i].usage);
		client_say(client, &line);
	}
	say_ok(client);
}

/* ---- from a line to a row ---- */

static const struct request_row *find_row(struct control_client *client, const char *name)
{
	const char *names[ROWS + 1], *near;

	for (size_t i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
		names[i] = rows[i].name;
	}
	names[ROWS] = NULL;
	near = diagnostics_nearest(name, names);
	if (near != NULL)
		client_error(client, "unknown", "no request %.80s; did you mean %s?", name, near);
	else
		client_error(client, "unknown", "no request %.80s; help lists them", name);
	return NULL;
}

static void run_row(struct control_client *client, const struct request_row *row,
    const struct line *line, int64_t now)
{
	static const struct directive none[] = {{NULL, DIRECTIVE_FLAG, 0, 0, 0, NULL, NULL, NULL}};
	struct request request = {.now = now};
	char why[DIRECTIVE_WHY];
	size_t first = 1;

	/* A secret may look like an option. */
	if (row->run == request_token)
		request.options = (struct line_options){.grace = -1};
	else if (line_options_read(&request.options, row->options != NULL ? row->options : none,
		     line, &first, why, sizeof why) == -1) {
		line_options_release(&request.options);
		client_error(client, "syntax", "%s", why);
		return;
	}
	request.words = line->words + first;
	request.count = line->count - first;
	if (request.count < row->min || request.count > row->max)
		client_error(client, "syntax", "%s: %s",
		    request.count < row->min ? "a word is missing" : "a word too many", row->usage);
	else if (client->revoked &&
	    (row->run == request_open || row->run == request_lease || row->run == request_reload ||
		row->run == request_reopen || row->run == request_workers ||
		row->run == request_stop))
		refuse(client, "policy",
		    "this endpoint has other rules now, or is gone; connect again", now);
	else
		row->run(client, &request);
	line_options_release(&request.options);
}

void request_handle(struct control_client *client, char *text, size_t length, int64_t now)
{
	const struct request_row *row = NULL;
	struct line line;
	const char *why;

	if (memchr(text, '\0', length) != NULL) {
		client_error(client, "too-long", "a line has no NUL in it");
		return;
	}
	if (length > 0 && text[length - 1] == '\r')
		length--;
	if (line_split(&line, text, length, &why) == -1) {
		line.count = 0;
		if (client->admitted)
			client_error(client, "syntax", "%s", why);
	} else if (line.count == 0) {
		return;
	}
	if (!client->admitted && (line.count != 2 || strcmp(line.words[0], "token") != 0))
		refuse(client, "token", "the first line has to be the token", now);
	else if (line.count > 0)
		row = find_row(client, line.words[0]);
	if (row != NULL)
		run_row(client, row, &line, now);
	if (client->state == CLIENT_READING)
		client->since = now;
}
