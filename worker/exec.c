/*
 * exec: a program for each connection, with the connection as its standard input and output, as
 * inetd and UCSPI servers run it. A launcher (launcher.h) starts and ends the programs; here is
 * what becomes of the connections.
 *
 *   HELD ──another of its client has ended──┐
 *                                           ▼
 *        WAITING ──the launcher has room──► STARTING ──STARTED──► RUNNING ──ENDED──► finished
 *           ▲                                  │                     │                  ▲
 *           └──── for want of a process ◄──────┤                     └─timeout─► ENDING ┘
 *                                              └──any other error──► closed
 *
 *   HELD      Its client has max-per-client connections.
 *   WAITING   No program could be started for it: tried again every RETRY_MS.
 *   STARTING  It was given to the launcher. All three end at start-timeout.
 *   RUNNING   The program has the connection; the worker does not touch it.
 *   ENDING    The program's time is over, and its group is being ended.
 *   CUT       From any of the last three: the client was cut, and its program is being ended.
 *
 * A program that has ended is the answer, whatever its status. The worker keeps its copy of the
 * connection until then, so that the connection ends with the program, whoever else has one.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "account.h"
#include "child.h"
#include "crowd.h"
#include "descriptor.h"
#include "launcher.h"
#include "service.h"
#include "worker.h"

#define CAPACITY_LEAST                                                                             \
	4096 /* of a launcher, where nobody says how many connections there may be                 \
	      */
#define TELL_MS 1000
#define UNTOLD_SIZE 64
#define RETRY_MS 100
#define RETRIES_FAILING 8 /* at a time, while programs cannot be started */
#define CUT_MS                                                                                     \
	500 /* between TERM and KILL when a connection is cut: the master waits no longer          \
	     */
#define CUT_STUCK_MS                                                                               \
	300 /* after that KILL: the master ends the worker a second after its order                \
	     */
#define STUCK_MS 2000 /* after KILL, a launcher that says nothing is not waited for any more */

enum over_limit { OVER_LIMIT_HOLD, OVER_LIMIT_REFUSE };

/* What one worker has of a service. */
struct exec_state {
	struct worker *worker;
	const struct exec_options *options;
	struct launcher *launcher; /* NULL: there is none yet */
	struct connection *held, **held_end; /* lists, the first come first */
	struct connection *waiting, **waiting_end;
	struct timer retry;
	bool failing; /* the log knows that programs cannot be started */
	int told; /* of what kind it was: a signal, or the negative of an errno */
	int64_t told_at; /* when a line was last written that any client can bring about, ms */
	uint64_t untold; /* such lines since then */
};

struct exec_options {
	struct child_options child;
	struct child_user user;
	int64_t timeout, start_timeout, end_delay; /* ms */
	int64_t max_connections, max_per_client;
	int64_t over_limit; /* enum over_limit */
	/* What prepare(), begin() and start() make. */
	struct launcher *born; /* with the worker: of another user */
	struct exec_state *state;
};

enum exec_step {
	STEP_HELD,
	STEP_WAITING,
	STEP_STARTING,
	STEP_RUNNING,
	STEP_ENDING,
	STEP_CUT,
	STEP_OVER
};

struct exec {
	enum exec_step step;
	struct launcher_run *run; /* NULL: none */
	enum outcome outcome; /* CUT: of the connection, when its program has ended */
	uint32_t place, number; /* see crowd.h */
	pid_t pid;
	struct connection *next, **link; /* HELD and WAITING: their lists */
};
_Static_assert(
    sizeof(struct exec) <= CONNECTION_PRIVATE, "CONNECTION_PRIVATE is too small for exec");

static const char *const over_limits[] = {"hold", "refuse", NULL};

#define DAY_MS INT64_C(86400000)
#define AT(member) .offset = offsetof(struct exec_options, member)

static const struct directive exec_directives[] = {
    {.name = "command", .type = DIRECTIVE_COMMAND, AT(child.command)},
    {.name = "environment", .type = DIRECTIVE_LIST, AT(child.environment)},
    {.name = "pass", .type = DIRECTIVE_LIST, AT(child.pass)},
    {.name = "limit", .type = DIRECTIVE_LIST, AT(child.limits)},
    {.name = "directory", .type = DIRECTIVE_PATH, .min = PATH_FOLDER, AT(child.directory)},
    {.name = "user", .type = DIRECTIVE_STRING, AT(user.name)},
    {.name = "umask",
	.type = DIRECTIVE_MODE,
	AT(child.umask),
	.max = 0777,
	.keyword = "inherit",
	.initial = "inherit"},
    {.name = "timeout",
	.type = DIRECTIVE_DURATION,
	AT(timeout),
	.min = 10,
	.max = 365 * DAY_MS,
	.keyword = "unlimited",
	.initial = "unlimited"},
    {.name = "start-timeout",
	.type = DIRECTIVE_DURATION,
	AT(start_timeout),
	.min = 10,
	.max = DAY_MS,
	.initial = "30s"},
    {.name = "end-delay",
	.type = DIRECTIVE_DURATION,
	AT(end_delay),
	.min = 0,
	.max = DAY_MS,
	.initial = "5s"},
    {.name = "max-connections",
	.type = DIRECTIVE_NUMBER,
	AT(max_connections),
	.min = 1,
	.max = 1000000,
	.keyword = "unlimited",
	.initial = "unlimited"},
    {.name = "max-per-client",
	.type = DIRECTIVE_NUMBER,
	AT(max_per_client),
	.min = 1,
	.max = 1000000,
	.keyword = "unlimited",
	.initial = "unlimited"},
    {.name = "over-limit",
	.type = DIRECTIVE_CHOICE,
	AT(over_limit),
	.choices = over_limits,
	.initial = "hold"},
    {.name = NULL},
};

static struct exec *exec_of(struct connection *c)
{
	return connection_private(c);
}

static struct exec_options *options_of(const struct connection *c)
{
	return c->options;
}

static void set_step(struct exec *exec, enum exec_step step)
{
	exec->step = step;
}

/* ---- the service in the master ---- */

static const char *exec_check(const void *options, const char **directive)
{
	const struct exec_options *exec = options;

	return child_check(&exec->child, directive);
}

static const char *exec_look(
    const void *options, const struct account *workers, const char **directive)
{
	const struct exec_options *exec = options;

	return child_look(&exec->child, &exec->user, workers, directive);
}

static int exec_prepare(void *options, const struct account *workers, char *why, size_t size)
{
	struct exec_options *exec = options;

	return child_user_prepare(&exec->user, &exec->child, workers, why, size);
}

/* ---- the launcher ---- */

static struct launcher *open_launcher(struct exec_options *options, int64_t capacity)
{
	const struct launcher_plan plan = {
	    .options = &options->child,
	    .account = options->user.changes ? &options->user.account : NULL,
	    .end_delay = options->end_delay,
	    .capacity = capacity > 0 ? (size_t)capacity : CAPACITY_LEAST,
	};

	return launcher_open(&plan);
}

/* While the worker is who the master is: the launcher of another user can be made only now. */
static int exec_begin(
    void *options, const struct config *config, bool keeps, char *why, size_t size)
{
	struct exec_options *exec = options;

	(void)keeps;
	if (!exec->user.changes || exec->born != NULL)
		return 0;
	exec->born = open_launcher(exec, config->max_connections);
	if (exec->born != NULL)
		return 0;
	snprintf(why, size, "cannot start a process as user \"%s\": %s", exec->user.name,
	    strerror(errno));
	return -1;
}

static const struct launcher_events launcher_events;

/* The launcher, made when it is first needed. NULL with errno: there can be none now. */
static struct launcher *launcher_of(struct exec_state *state)
{
	struct worker *worker = state->worker;

	if (state->launcher != NULL && !state->launcher->gone)
		return state->launcher;
	errno = EPIPE;
	if (state->options->user.changes)
		return NULL; /* it was made by root; this worker cannot, and is to be replaced */
	if (state->launcher != NULL)
		launcher_leave(state->launcher);
	state->launcher =
	    open_launcher((struct exec_options *)(uintptr_t)state->options, (int64_t)worker->max);
	if (state->launcher == NULL)
		return NULL;
	state->launcher->user = state;
	return launcher_attach(state->launcher, worker, &launcher_events) == 0 ? state->launcher
									       : NULL;
}

/* ---- lists ---- */

static void list_add(struct connection ***end, struct connection *c)
{
	struct exec *exec = exec_of(c);

	exec->next = NULL;
	exec->link = *end;
	**end = c;
	*end = &exec->next;
}

/* The first of those that wait, again. */
static void wait_first(struct exec_state *state, struct connection *c)
{
	struct exec *exec = exec_of(c);

	exec->next = state->waiting;
	exec->link = &state->waiting;
	if (exec->next != NULL)
		exec_of(exec->next)->link = &exec->next;
	else
		state->waiting_end = &exec->next;
	state->waiting = c;
}

/* Takes it off whatever list it is on. */
static void list_remove(struct exec_state *state, struct connection *c)
{
	struct exec *exec = exec_of(c);

	if (exec->link == NULL)
		return;
	*exec->link = exec->next;
	if (exec->next != NULL)
		exec_of(exec->next)->link = exec->link;
	else if (state->held_end == &exec->next)
		state->held_end = exec->link;
	else
		state->waiting_end = exec->link;
	exec->link = NULL;
}

/* At that time, or earlier where that was said before. */
static void retry_soon(struct exec_state *state, int64_t ms)
{
	int64_t at = state->worker->now + ms;

	if (state->retry.link == NULL || state->retry.deadline > at)
		timer_set(&state->worker->wheel, &state->retry, at);
}

/* ---- starting ---- */

/* What passes, as against what will be the same the next time. */
static bool is_passing(int error)
{
	switch (error) {
	case EAGAIN:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ETOOMANYREFS:
	case ETXTBSY:
	case EPIPE:
		return true;
	default:
		return false;
	}
}

/* For lines that any client can bring about: of the same kind (what, any number) one a second.
 * *untold is set to a text that says how many were left out before it, which may be empty. */
static bool may_tell(struct exec_state *state, int what, char *untold, size_t size)
{
	int64_t now = state->worker->now;

	if (state->told == what && state->told_at != 0 && now - state->told_at < TELL_MS) {
		state->untold++;
		return false;
	}
	state->told = what;
	untold[0] = '\0';
	if (state->untold > 0)
		snprintf(
		    untold, size, " (and %llu lines before)", (unsigned long long)state->untold);
	state->told_at = now;
	state->untold = 0;
	return true;
}

static const char *program_of(const struct connection *c)
{
	return options_of(c)->child.command[0];
}

/* It could not be started for now. */
static void wait_for_launcher(struct connection *c, int error)
{
	struct exec_state *state = options_of(c)->state;

	set_step(exec_of(c), STEP_WAITING);
	list_add(&state->waiting_end, c);
	retry_soon(state, RETRY_MS);
	if (error == 0 || state->failing)
		return;
	state->failing = true;
	log_write(c->worker->log, LOG_ERROR,
	    "worker %u: cannot start %s: %s; trying again every %d ms", c->worker->from->slot,
	    program_of(c), strerror(error), RETRY_MS);
}

/* Gives it to the launcher, or has it wait. */
static void start(struct connection *c)
{
	struct exec *exec = exec_of(c);
	struct exec_state *state = options_of(c)->state;
	struct launcher *launcher = launcher_of(state);
	union address_socket peer;

	if (launcher == NULL) {
		wait_for_launcher(c, errno);
		return;
	}
	exec->run =
	    launcher_start(launcher, c, c->watch.fd, connection_peer(c, &peer), exec->number);
	if (exec->run != NULL)
		set_step(exec, STEP_STARTING);
	else
		wait_for_launcher(c, errno == EAGAIN ? 0 : errno);
}

/* Whether its client may have another; it is counted then. */
static bool count_client(struct connection *c)
{
	struct exec *exec = exec_of(c);
	int64_t most = options_of(c)->max_per_client;
	union address_socket peer;

	exec->place = crowd_enter(c->acceptor, connection_peer(c, &peer), &exec->number);
	if (most < 0 || exec->number <= (uint64_t)most)
		return true;
	crowd_leave(c->worker, exec->place);
	exec->place = 0;
	return false;
}

static void begin(struct connection *c)
{
	struct exec_state *state = options_of(c)->state;

	if (count_client(c)) {
		/* Behind those that were there before. */
		if (state->waiting != NULL)
			wait_for_launcher(c, 0);
		else
			start(c);
		return;
	}
	if (options_of(c)->over_limit == OVER_LIMIT_REFUSE) {
		union address_socket peer;
		char host[64];

		log_write(c->worker->log, LOG_INFO, "%s: refused %s, which has max-per-client",
		    program_of(c), address_host(connection_peer(c, &peer), host, sizeof host));
		connection_close(c, OUTCOME_ANSWERED);
		return;
	}
	set_step(exec_of(c), STEP_HELD);
	list_add(&state->held_end, c);
	retry_soon(state, RETRY_MS); /* the others may be another worker's */
}

/* Those that were held, each once. Called by the timer alone, however many connections end:
 * somebody may have thousands held, and each is looked at. */
static void retry_held(struct exec_state *state)
{
	struct connection *c = state->held;

	state->held = NULL;
	state->held_end = &state->held;
	while (c != NULL) {
		struct connection *next = exec_of(c)->next;

		exec_of(c)->link = NULL;
		begin(c);
		c = next;
	}
}

/* Starts those that wait, in their order, at most so many of them, for what cannot be had is not
 * asked for by all. */
static void retry_waiting(struct exec_state *state, size_t most)
{
	while (state->waiting != NULL && most-- > 0) {
		struct connection *c = state->waiting;

		list_remove(state, c);
		start(c);
		if (exec_of(c)->step == STEP_WAITING) {
			list_remove(state, c);
			wait_first(state, c);
			return;
		}
	}
}

static void retry_fire(struct timer *timer)
{
	struct exec_state *state = container_of(timer, struct exec_state, retry);

	retry_waiting(state, state->failing ? RETRIES_FAILING : SIZE_MAX);
	retry_held(state);
	if (state->waiting != NULL)
		retry_soon(state, RETRY_MS);
}

/* ---- what the launcher tells ---- */

static void run_started(void *owner, pid_t pid)
{
	struct connection *c = owner;
	struct exec *exec = exec_of(c);
	struct exec_state *state = options_of(c)->state;

	if (exec->step != STEP_STARTING)
		return;
	set_step(exec, STEP_RUNNING);
	exec->pid = pid;
	if (options_of(c)->timeout >= 0)
		connection_deadline(c, options_of(c)->timeout);
	else
		connection_no_deadline(c);
	if (!state->failing)
		return;
	state->failing = false;
	log_write(c->worker->log, LOG_NOTICE, "worker %u: starting %s works again",
	    c->worker->from->slot, program_of(c));
}

static void run_failed(void *owner, int error, const char *what)
{
	struct connection *c = owner;
	char escaped[256], untold[UNTOLD_SIZE];

	exec_of(c)->run = NULL;
	if (exec_of(c)->step == STEP_CUT) {
		connection_close(c, exec_of(c)->outcome);
		return;
	}
	if (error == ECONNRESET) {
		connection_close(c, OUTCOME_LEFT);
		return;
	}
	if (is_passing(error)) {
		wait_for_launcher(c, error);
		return;
	}
	log_escape(escaped, sizeof escaped, what, strlen(what));
	if (may_tell(options_of(c)->state, -error, untold, sizeof untold))
		log_write(c->worker->log, LOG_ERROR,
		    "cannot start %s: %s%s%s; its client is lost%s", program_of(c), escaped,
		    escaped[0] != '\0' ? ": " : "", strerror(error), untold);
	connection_close(c, OUTCOME_BROKEN);
}

/* For the receipts: of its listener, and of a stop those that end in it. c may be NULL: it was cut,
 * and its listener may be gone. */
static void count_status(struct worker *worker, const struct connection *c, int status)
{
	struct slot *self = worker->self;
	struct tally *tally = c != NULL ? c->acceptor->tally : NULL;
	bool killed = status == -1 || WIFSIGNALED(status);
	bool failed = !killed && WEXITSTATUS(status) != 0;
	bool stopping = worker_hears_last_call(worker) && !worker->retirement_over;

	slot_add(&self->programs_killed, stopping && killed);
	slot_add(&self->programs_failed, stopping && failed);
	slot_add(&self->programs_done, stopping && !killed && !failed);
	if (tally == NULL)
		return;
	slot_add(&tally->programs_killed, killed);
	slot_add(&tally->programs_failed, failed);
	slot_add(&tally->programs_done, !killed && !failed);
}

/* That a program was killed by what nobody sends on purpose is worth a line. */
static void log_death(struct connection *c, int status)
{
	static const int usual[] = {SIGHUP, SIGINT, SIGTERM, SIGKILL, SIGPIPE, SIGALRM, 0};
	const int *at = usual;
	char untold[UNTOLD_SIZE];

	if (!WIFSIGNALED(status))
		return;
	while (*at != 0 && *at != WTERMSIG(status))
		at++;
	if (*at != 0 && c->worker->log->level < LOG_INFO)
		return;
	if (may_tell(options_of(c)->state, WTERMSIG(status), untold, sizeof untold))
		log_write(c->worker->log, *at == 0 ? LOG_WARNING : LOG_INFO,
		    "%s[%ld]: killed by signal %d (%s)%s", program_of(c), (long)exec_of(c)->pid,
		    WTERMSIG(status), strsignal(WTERMSIG(status)), untold);
}

/* Whether the client has shut its side, and all that it sent was read. */
static bool client_is_done(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void run_ended(struct worker *worker, void *owner, int status)
{
	struct connection *c = owner;
	struct exec *exec;
	enum exec_step step;

	count_status(worker, c, status);
	if (c == NULL)
		return;
	exec = exec_of(c);
	step = exec->step;
	exec->run = NULL;
	set_step(exec, STEP_OVER);
	if (step == STEP_CUT || step == STEP_ENDING || status == -1) {
		connection_close(c, step == STEP_CUT ? exec->outcome : OUTCOME_BROKEN);
		return;
	}
	log_death(c, status);
	c->answered = true;
	connection_finish(c, client_is_done(c->watch.fd));
}

static void launcher_writable(struct launcher *launcher)
{
	struct exec_state *state = launcher->user;

	if (state == NULL || state->launcher != launcher)
		return;
	if (launcher->gone && state->options->user.changes && !launcher->leaving)
		worker_ask_for_successor(state->worker);
	if (launcher->gone) {
		/* Another one is made, but not at once: this one may have died of its beginning. */
		state->failing = true;
		retry_soon(state, RETRY_MS);
	} else if (!state->failing) {
		retry_waiting(state, SIZE_MAX);
	}
}

static const struct launcher_events launcher_events = {
    .started = run_started,
    .failed = run_failed,
    .ended = run_ended,
    .writable = launcher_writable,
};

/* ---- the service in the worker ---- */

static int exec_start(struct worker *worker, void *options, char *why, size_t size)
{
	struct exec_options *exec = options;
	struct exec_state *state = calloc(1, sizeof *state);

	if (state == NULL) {
		snprintf(why, size, "%s", strerror(errno));
		return -1;
	}
	crowd_clear(worker);
	*state = (struct exec_state){
	    .worker = worker,
	    .options = exec,
	    .held_end = &state->held,
	    .waiting_end = &state->waiting,
	    .retry = {.fire = retry_fire},
	};
	exec->state = state;
	if (exec->born == NULL)
		return 0;
	state->launcher = exec->born;
	state->launcher->user = state;
	if (launcher_attach(state->launcher, worker, &launcher_events) == 0)
		return 0;
	snprintf(why, size, "%s", strerror(errno));
	return -1;
}

static void exec_stop(void *options)
{
	struct exec_options *exec = options;
	struct exec_state *state = exec->state;

	if (state == NULL)
		return;
	timer_clear(&state->worker->wheel, &state->retry);
	if (state->launcher != NULL) {
		state->launcher->user = NULL;
		launcher_leave(state->launcher);
	}
	free(state);
	exec->state = NULL;
}

static int64_t exec_most(const void *options)
{
	return ((const struct exec_options *)options)->max_connections;
}

static void exec_open(struct connection *c)
{
	worker_count_request(c->worker);
	connection_set_state(c, CONNECTION_BUSY);
	c->shared = true;
	connection_deadline(c, options_of(c)->start_timeout);
	begin(c);
}

/* It is never waited for in the loop before it is finished. */
static void exec_ready(struct connection *c, unsigned events)
{
	(void)c;
	(void)events;
}

static void expire_start(struct connection *c)
{
	static const char *const reasons[] = {
	    [STEP_HELD] = "its client has max-per-client",
	    [STEP_WAITING] = "no program could be started",
	    [STEP_STARTING] = "the program was not started in time",
	};
	char untold[UNTOLD_SIZE];

	if (may_tell(options_of(c)->state, 0, untold, sizeof untold))
		log_write(c->worker->log, LOG_WARNING,
		    "%s: start-timeout is over, and %s: a client is lost%s", program_of(c),
		    reasons[exec_of(c)->step], untold);
	connection_close(c, OUTCOME_BROKEN);
}

static void exec_expire(struct connection *c)
{
	struct exec *exec = exec_of(c);

	switch (exec->step) {
	case STEP_HELD:
	case STEP_WAITING:
	case STEP_STARTING:
		expire_start(c);
		return;
	case STEP_RUNNING:
		log_write(c->worker->log, LOG_INFO, "%s[%ld]: timeout is over: ending it",
		    program_of(c), (long)exec->pid);
		set_step(exec, STEP_ENDING);
		launcher_end(options_of(c)->state->launcher, exec->run, options_of(c)->end_delay);
		connection_deadline(c, options_of(c)->end_delay + STUCK_MS);
		return;
	case STEP_CUT:
		connection_close(c, exec->outcome);
		return;
	default:
		connection_close(c, OUTCOME_BROKEN);
	}
}

/* How its program ends is in the receipt, so the connection is there until that is known. */
static bool exec_cut(struct connection *c, enum outcome outcome)
{
	struct exec *exec = exec_of(c);

	if (exec->run == NULL)
		return false;
	if (exec->step == STEP_CUT)
		return true;
	set_step(exec, STEP_CUT);
	exec->outcome = outcome;
	shutdown(c->watch.fd, SHUT_RDWR);
	launcher_end(options_of(c)->state->launcher, exec->run, CUT_MS);
	connection_deadline(c, CUT_MS + CUT_STUCK_MS);
	return true;
}

static void exec_refuse(int fd)
{
	(void)fd; /* the end of the connection is all that can be said */
}

/* Also of one whose program runs and is not waited for any more. */
static void exec_close(struct connection *c)
{
	struct exec *exec = exec_of(c);
	struct exec_state *state = options_of(c)->state;

	if (exec->run != NULL) {
		exec->run->owner = NULL;
		launcher_end(state->launcher, exec->run, CUT_MS);
	}
	exec->run = NULL;
	if (exec->place != 0 && state->held != NULL)
		retry_soon(state, 0);
	crowd_leave(c->worker, exec->place);
	exec->place = 0;
	list_remove(state, c);
}

const struct service exec_service = {
    .kind =
	{
	    .name = "exec",
	    .summary = "runs a program for each connection",
	    .directives = exec_directives,
	    .options_size = sizeof(struct exec_options),
	    .argument = "command",
	    .check = exec_check,
	    .look = exec_look,
	    .prepare = exec_prepare,
	    .begin = exec_begin,
	},
    .start = exec_start,
    .stop = exec_stop,
    .most = exec_most,
    .open = exec_open,
    .ready = exec_ready,
    .expire = exec_expire,
    .refuse = exec_refuse,
    .cut = exec_cut,
    .close = exec_close,
};
