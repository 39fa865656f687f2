/* The command `lease`; see lease.h. */
#include "lease.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "descriptor.h"
#include "private.h"
#include "program.h"
#include "remote.h"
#include "signals.h"

#define RELEASE_MS 60000 /* a close is bounded by the server's grace, 30 s by default */

/* As shells, env(1) and timeout(1) have it. */
enum {
	STATUS_LASTCALL = 125, /* the command was not started, for lastcall could not */
	STATUS_NOT_EXECUTABLE = 126,
	STATUS_NOT_FOUND = 127,
	STATUS_SIGNAL = 128, /* and the number of the signal that ended the command */
};

#define PINGS_PER_HEARTBEAT 3 /* one or two may be late */

enum lease_state { LEASE_HELD, LEASE_RELEASING, LEASE_OVER };

struct lease {
	const struct command *command;
	const struct options *options;
	enum lease_state state;
	struct private_server server;
	struct client client;
	char address[CLIENT_LINE_MAX]; /* as the server calls it */
	int signals; /* the descriptor */
	int64_t release_by; /* ms: RELEASING is given up */
	bool reads_input; /* end of standard input ends it */
	int64_t next_ping; /* CLOCK_NEVER: no heartbeat is asked for */
	unsigned owed; /* answers to pings */

	pid_t program; /* 0: none, or it has ended */
	int program_status; /* of wait(2) */
	bool asked_to_end; /* by a signal, without a command */
	bool closed; /* by the server; receipt says with what */
	char reason[32];
	bool has_receipt;
	struct receipt receipt;
};

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD, 0};
static const int passed_on[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

#define COUNT(list) (sizeof list / sizeof list[0])

static void set_state(struct lease *lease, enum lease_state state)
{
	lease->state = state;
}

/* A line for people, about what is no error of ours. */
static void tell(const struct lease *lease, const char *what)
{
	char shown[REPLY_DISPLAY];

	fprintf(stderr, "lastcall: lease: %s: %s%s\n",
	    reply_display(lease->address, shown, sizeof shown), what,
	    lease->program > 0 ? "; the command goes on" : "");
}

static void tell_receipt(const struct lease *lease)
{
	fprintf(stderr, "lastcall: lease: ");
	remote_print_receipt(stderr, lease->address, &lease->receipt);
}

/* ---- what the server says ---- */

static void was_closed(struct lease *lease, const struct reply *reply)
{
	const char *reason = reply_value(reply, "reason");
	char what[REPLY_DISPLAY], shown[REPLY_DISPLAY];

	if (strcmp(reply->words[1], lease->address) != 0)
		return;
	lease->closed = true;
	snprintf(lease->reason, sizeof lease->reason, "%s", reason != NULL ? reason : "");
	lease->has_receipt = reply_receipt(reply, &lease->receipt) == 0;
	if (lease->state != LEASE_HELD)
		return;
	snprintf(what, sizeof what, "closed by the server (%s)",
	    reply_display(lease->reason, shown, sizeof shown));
	tell(lease, what);
	set_state(lease, LEASE_OVER);
	/* A connection without a lease may not be silent. */
	client_close(&lease->client);
}

static void understand(struct lease *lease, const struct reply *reply)
{
	if (reply->kind == REPLY_CLOSED) {
		was_closed(lease, reply);
	} else if (reply->kind == REPLY_OK && lease->owed > 0) {
		lease->owed--;
	} else if (lease->state == LEASE_RELEASING) {
		/* Closed by both of us at once: `closed` was told, and the port is unknown now. */
		if (reply->kind == REPLY_OK)
			lease->has_receipt = reply_receipt(reply, &lease->receipt) == 0;
		else if (!lease->closed)
			remote_refused(lease->command, reply);
		set_state(lease, LEASE_OVER);
	} else {
		remote_refused(lease->command, reply);
	}
}

/* Nothing more comes from the server: its port is closed, or will be by its workers. */
static void lose(struct lease *lease, const char *why)
{
	if (lease->state != LEASE_OVER)
		tell(lease, why);
	set_state(lease, LEASE_OVER);
	client_close(&lease->client);
}

static void listen_to_server(struct lease *lease, bool readable)
{
	struct reply reply;
	char why[CLIENT_WHY];
	bool ended = readable && client_fill(&lease->client) == 0;
	int result;

	while ((result = client_take(&lease->client, &reply, why, sizeof why)) == 1)
		understand(lease, &reply);
	if (result == -1 || ended)
		lose(lease, result == -1 ? why : "the connection to the server ended");
}

static void ask(struct lease *lease, struct request *request)
{
	char why[CLIENT_WHY];

	if (request_end(request) == -1 ||
	    client_send(&lease->client, request, clock_ms() + CLIENT_ANSWER_MS, why, sizeof why) ==
		-1)
		lose(lease, why);
}

static void ping(struct lease *lease, int64_t now)
{
	struct request request = {.length = 0};

	request_word(&request, "ping");
	lease->owed++;
	lease->next_ping = now + lease->options->heartbeat / PINGS_PER_HEARTBEAT;
	ask(lease, &request);
}

/* ---- signals, and the command ---- */

static void listen_to_signals(struct lease *lease)
{
	for (size_t i = 0; lease->program > 0 && i < COUNT(passed_on); i++) {
		if (signals_take(passed_on[i]))
			kill(lease->program, passed_on[i]);
	}
	for (size_t i = 0; i < COUNT(ending); i++) {
		/* INT and QUIT of a terminal reached the command, too: it decides. */
		if (signals_take(ending[i]) && lease->program == 0)
			lease->asked_to_end = true;
	}
	/* After the signals: what comes for a command that has ended is ours. */
	if (lease->program > 0 &&
	    waitpid(lease->program, &lease->program_status, WNOHANG) == lease->program)
		lease->program = 0;
}

/* What comes on standard input means nothing, its end does. */
static void read_input(struct lease *lease)
{
	char bytes[4096];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);

	if (n == 0 || (n == -1 && errno != EINTR && errno != EAGAIN))
		lease->reads_input = false;
}

/* Waits until something happens, at the latest at the next ping, and takes note of it. */
static void turn(struct lease *lease)
{
	bool talks = lease->client.fd != -1;
	struct pollfd waiting[] = {
	    {.fd = lease->signals, .events = POLLIN},
	    {.fd = lease->client.fd, .events = POLLIN},
	    {.fd = lease->reads_input ? STDIN_FILENO : -1, .events = POLLIN},
	};
	int64_t now = clock_ms(), left = -1;

	if (talks && lease->next_ping != CLOCK_NEVER)
		left = lease->next_ping > now ? lease->next_ping - now : 0;
	if (lease->state == LEASE_RELEASING)
		left = lease->release_by > now ? lease->release_by - now : 0;
	if (poll(waiting, COUNT(waiting), left > 60000 ? 60000 : (int)left) == -1)
		waiting[1].revents = waiting[2].revents = 0;
	signals_clear();
	listen_to_signals(lease);
	if (talks)
		listen_to_server(lease, waiting[1].revents != 0);
	if (waiting[2].revents != 0)
		read_input(lease);
	if (lease->client.fd != -1 && clock_ms() >= lease->next_ping)
		ping(lease, clock_ms());
}

/* ---- beginning ---- */

/*
 * Connects to the daemon, or to one of our own. Returns STATUS_DONE, or a status after it said what
 * is wrong.
 */
static int find_server(struct lease *lease)
{
	const struct options *options = lease->options;
	int64_t deadline = clock_ms() + CLIENT_ANSWER_MS;
	enum client_result result = CLIENT_ABSENT;
	char why[CLIENT_WHY];

	if (!options->alone)
		result = remote_connect(
		    lease->command, options, &lease->client, deadline, why, sizeof why);
	if (result != CLIENT_ABSENT)
		return remote_status(result);
	if ((options->program != NULL || options->alone) &&
	    private_start(&lease->server, &lease->client, deadline, why, sizeof why) == 0)
		return STATUS_DONE;
	return remote_error(lease->command, "%s", why);
}

static int take_port(struct lease *lease, const struct address *address, struct program_port *port)
{
	const struct options *options = lease->options;
	struct request request = {.length = 0};
	struct reply reply;
	int status;

	request_word(&request, "lease");
	remote_add_folder(&request, &lease->client, options);
	remote_add_duration(&request, "ttl", options->ttl);
	remote_add_duration(&request, "heartbeat", options->heartbeat);
	status =
	    remote_ask_open(lease->command, options, &lease->client, &request, address, &reply);
	if (status != STATUS_DONE)
		return status;
	snprintf(lease->address, sizeof lease->address, "%s", reply.words[1]);
	program_port_of(
	    port, &lease->client, reply.words[1], reply.count > 2 ? reply.words[2] : NULL);
	if (options->heartbeat >= 0)
		lease->next_ping = clock_ms() + options->heartbeat / PINGS_PER_HEARTBEAT;
	return STATUS_DONE;
}

/* ---- holding ---- */

/* Without a command: prints the address, and waits for what ends it. */
static int hold(struct lease *lease)
{
	char shown[REPLY_DISPLAY];

	printf("%s\n", reply_display(lease->address, shown, sizeof shown));
	if (remote_printed(lease->command, STATUS_DONE) != STATUS_DONE)
		return STATUS_FAILED;
	lease->reads_input = true;
	while (lease->state == LEASE_HELD && !lease->asked_to_end && lease->reads_input)
		turn(lease);
	lease->reads_input = false;
	return STATUS_DONE;
}

/* With one: starts it, and waits for its end, whatever becomes of the lease. Returns its status as
 * a shell does. */
static int run_program(
    struct lease *lease, const struct program_port *port, const struct program_signals *signals)
{
	char *const *words = lease->options->program;
	int error;

	lease->program = program_start(words, port, signals);
	if (lease->program == -1) {
		error = errno;
		lease->program = 0;
		remote_error(lease->command, "%s: %s", words[0], strerror(error));
		return error == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
	}
	while (lease->program > 0)
		turn(lease);
	return WIFSIGNALED(lease->program_status) ? STATUS_SIGNAL + WTERMSIG(lease->program_status)
						  : WEXITSTATUS(lease->program_status);
}

/* Closes the port, if it is still ours, and waits for the receipt. */
static void give_back(struct lease *lease)
{
	struct request request = {.length = 0};

	if (lease->state != LEASE_HELD)
		return;
	set_state(lease, LEASE_RELEASING);
	lease->next_ping = CLOCK_NEVER;
	lease->asked_to_end = false;
	request_word(&request, "close");
	request_word(&request, lease->address);
	ask(lease, &request);
	lease->release_by = clock_ms() + RELEASE_MS;
	while (lease->state == LEASE_RELEASING && !lease->asked_to_end &&
	    clock_ms() < lease->release_by)
		turn(lease);
	/* The end of the connection releases the port, when the server turns to it again. */
	if (lease->state == LEASE_RELEASING && !lease->asked_to_end)
		fprintf(stderr,
		    "lastcall: warning: lease: the server does not answer; %s is left "
		    "to it\n",
		    lease->address);
}

/* What a lease without a command comes to. */
static int outcome(const struct lease *lease)
{
	bool as_expected = !lease->closed || strcmp(lease->reason, "ttl") == 0;

	if (!lease->has_receipt || !as_expected)
		return STATUS_FAILED;
	return lease->receipt.cut > 0 ? STATUS_CUT : STATUS_DONE;
}

static int serve(struct lease *lease, const struct address *address)
{
	struct program_signals signals;
	struct program_port port;
	int status = take_port(lease, address, &port);

	if (status != STATUS_DONE)
		return lease->options->program != NULL ? STATUS_LASTCALL : status;
	program_signals_note(&signals);
	lease->signals = signals_open(caught);
	if (lease->signals == -1) {
		status = remote_error(lease->command, "%s", strerror(errno));
		return lease->options->program != NULL ? STATUS_LASTCALL : status;
	}
	program_signals_restore(&signals);
	status =
	    lease->options->program != NULL ? run_program(lease, &port, &signals) : hold(lease);
	give_back(lease);
	if (lease->has_receipt && (lease->options->program == NULL || lease->receipt.cut > 0))
		tell_receipt(lease);
	if (lease->options->program == NULL && status == STATUS_DONE)
		status = outcome(lease);
	return status;
}

int lease_run(const struct command *command, const struct options *options)
{
	struct lease lease = {
	    .command = command,
	    .options = options,
	    .client = {.fd = -1},
	    .server = {.lifeline = -1},
	    .signals = -1,
	    .next_ping = CLOCK_NEVER,
	};
	struct address address;
	int status = remote_misused_service(command, options);

	if (status != STATUS_DONE)
		return status;
	if (options->alone && options->control != NULL)
		return command_misused(command, "either -s or --private");
	status = remote_address(command, options->address, &address);
	if (status == STATUS_USAGE)
		return status;
	if (status == STATUS_DONE)
		status = find_server(&lease);
	if (status == STATUS_DONE)
		status = serve(&lease, &address);
	else if (options->program != NULL)
		status = STATUS_LASTCALL;
	client_close(&lease.client);
	private_end(&lease.server, lease.signals);
	return status;
}
