/*
 * The loop of the master and its states. Everything that happens is an event that wakes the loop;
 * what follows from it is decided in reconcile().
 */
#include "master_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "descriptor.h"
#include "setup.h"
#include "signals.h"

/* Signals that the master hears. What each does is in handle_signals. */
static const int heard[] = {
    SIGTERM, SIGINT, SIGQUIT, SIGCHLD, SIGTTIN, SIGTTOU, SIGHUP, SIGUSR1, SIGUSR2, 0};

void master_set_state(struct master *master, enum master_state state)
{
	master->state = state;
}

/* ---- announcing ---- */

static void announce_line(const struct master *master, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void announce_line(const struct master *master, const char *format, ...)
{
	char line[ADDRESS_TEXT * 3];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof line - 2)
		length = (int)sizeof line - 2;
	line[length++] = '\n';
	/* Nobody listening is no reason not to serve. */
	if (master->announce.lines)
		log_put(STDOUT_FILENO, line, (size_t)length);
	if (master->announce.ready_fd >= 0)
		log_put(master->announce.ready_fd, line, (size_t)length);
}

static void announce_listeners(struct master *master)
{
	char url[ADDRESS_TEXT + 16];

	for (size_t i = 0; i < master->listeners.count; i++) {
		const struct listener *listener = &master->listeners.all[i];

		listener_url(listener, url, sizeof url);
		announce_line(master, "listening %s %s%s%s", listener->text,
		    listener->service->name, url[0] ? " " : "", url);
	}
}

/* Whoever reads what -d prints waits for its end, so nobody may keep it open. */
static void leave_terminal(bool with_errors)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null == -1)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (with_errors && isatty(STDERR_FILENO))
		dup2(null, STDERR_FILENO);
	fd_close(&null);
}

static void became_ready(struct master *master)
{
	master_set_state(master, MASTER_SERVING);
	announce_line(master, "ready %ld", (long)getpid());
	fd_close(&master->announce.ready_fd);
	notify_ready(&master->notify);
	log_write(&master->log, LOG_NOTICE, "ready: pid %ld, %zu worker%s%s%s", (long)getpid(),
	    master->pool.wanted, master->pool.wanted == 1 ? "" : "s",
	    master->privilege.change ? " as " : "",
	    master->privilege.change ? master->privilege.account.user : "");
	if (master->announce.parent < 0)
		return;
	fd_write_all(master->announce.parent, "r", 1);
	fd_close(&master->announce.parent);
	master->announce.lines = false;
	leave_terminal(true);
}

/* ---- stopping ---- */

static void begin_stop(struct master *master, int64_t now, const char *why)
{
	if (master->state >= MASTER_CLOSING)
		return;
	log_write(&master->log, LOG_NOTICE, "last call: %s", why);
	notify_stopping(&master->notify);
	master_set_state(master, MASTER_CLOSING);
	master->stop_begun = now;
	master->deadline = now + master->reload.config->grace;
	/* The words first: what accept says from here on is understood by whoever hears it. */
	pool_order_stop(&master->pool);
	reload_abandon(&master->reload, now);
	upgrade_abandon(&master->upgrade, now);
	ports_stop(&master->ports, now);
	pool_stop(&master->pool);
}

/* A stop is asked for: it begins now, or when those who send us clients have had time to notice. */
static void ask_stop(struct master *master, int64_t now, const char *why)
{
	int64_t delay = master->reload.config->drain_delay;

	if (master->state == MASTER_DELAYING)
		return;
	if (master->state != MASTER_SERVING || delay == 0) {
		begin_stop(master, now, why);
		return;
	}
	log_write(&master->log, LOG_NOTICE, "last call: %s; serving on for %lld ms (drain-delay)",
	    why, (long long)delay);
	master_set_state(master, MASTER_DELAYING);
	notify_stopping(&master->notify);
	master->deadline = now + delay;
	pool_order_delay(&master->pool);
	master->ports.no_more = true;
	reload_abandon(&master->reload, now);
	upgrade_abandon(&master->upgrade, now);
}

static void begin_cut(struct master *master, int64_t now, const char *why)
{
	if (master->state == MASTER_CUTTING || master->state == MASTER_DONE)
		return;
	if (master->state < MASTER_CLOSING)
		begin_stop(master, now, why);
	else
		log_write(&master->log, LOG_WARNING, "%s: cutting what is still open", why);
	/* Nobody comes in any more; what is left in the queues is counted when no worker can take
	 * from them. */
	ports_gate(&master->ports, now);
	pool_cut(&master->pool);
	master_set_state(master, MASTER_CUTTING);
	master->deadline = now + CUT_MS;
}

static void finish(struct master *master, int64_t now)
{
	master->pool.totals.cut += ports_force(&master->ports, now);
	master_set_state(master, MASTER_DONE);
}

/* What went wrong while it ran, if anything did: the receipt tells of the stop alone. */
static void say_what_happened(struct master *master)
{
	const struct pool_totals *totals = &master->pool.totals;

	if (totals->restarts + totals->watchdog_kills + totals->fork_failures + totals->lost +
		totals->refused ==
	    0)
		return;
	log_write(&master->log, LOG_NOTICE,
	    "before that: workers replaced after they died: %llu; killed by the "
	    "watchdog: %llu; failed starts: %llu; connections lost or cut in mid-answer: %llu; "
	    "refused "
	    "for want of a descriptor: %llu",
	    (unsigned long long)totals->restarts, (unsigned long long)totals->watchdog_kills,
	    (unsigned long long)totals->fork_failures, (unsigned long long)totals->lost,
	    (unsigned long long)totals->refused);
}

/* What the stop did, for people: true to the numbers, and short when nothing went wrong. */
static void write_receipt(const struct master *master, char *out, size_t size)
{
	const struct pool_totals *totals = &master->pool.totals;
	const struct receipt receipt = {
	    .programs_done = totals->programs_done,
	    .programs_failed = totals->programs_failed,
	    .programs_killed = totals->programs_killed,
	};
	int n =
	    snprintf(out, size, "drained in %lld ms: %llu answered, %llu of them from the queue",
		(long long)(clock_ms() - master->stop_begun), (unsigned long long)totals->answered,
		(unsigned long long)totals->queued);

	if (totals->left > 0 && n > 0 && (size_t)n < size)
		n += snprintf(out + n, size - (size_t)n, ", %llu left by themselves",
		    (unsigned long long)totals->left);
	if (n > 0 && (size_t)n < size)
		n += snprintf(
		    out + n, size - (size_t)n, ", %llu cut", (unsigned long long)totals->cut);
	if (n > 0 && (size_t)n < size)
		receipt_programs(&receipt, out + n, size - (size_t)n);
}

/* Answers the clients that asked for the stop. */
static void tell_clients(struct master *master)
{
	const struct pool_totals *totals = &master->pool.totals;
	const struct receipt receipt = {
	    .milliseconds = clock_ms() - master->stop_begun,
	    .accepted = totals->answered + totals->left + totals->cut,
	    .answered = totals->answered,
	    .queued = totals->queued,
	    .left = totals->left,
	    .cut = totals->cut,
	    .programs_done = totals->programs_done,
	    .programs_failed = totals->programs_failed,
	    .programs_killed = totals->programs_killed,
	};

	control_stopped(&master->control, &receipt);
}

/* ---- what the control endpoint asks for ---- */

static const char *state_name(void *owner)
{
	static const char *const names[] = {
	    [MASTER_STARTING] = "starting",
	    [MASTER_SERVING] = "serving",
	    [MASTER_DELAYING] = "delaying",
	    [MASTER_CLOSING] = "closing",
	    [MASTER_DRAINING] = "draining",
	    [MASTER_CUTTING] = "cutting",
	    [MASTER_DONE] = "cutting",
	};

	return names[((struct master *)owner)->state];
}

static void stop_for_client(void *owner, bool now)
{
	struct master *master = owner;

	if (now)
		begin_cut(master, clock_ms(), "a client asked for it");
	else
		ask_stop(master, clock_ms(), "a client asked for it");
}

static bool upgrade_for_client(void *owner)
{
	return upgrade_ask(&((struct master *)owner)->upgrade);
}

static unsigned reload_for_client(void *owner)
{
	return reload_ask(&((struct master *)owner)->reload);
}

static unsigned reopen_for_client(void *owner)
{
	return reopen_ask(&((struct master *)owner)->reopen);
}

/* ---- what should be, against what is ---- */

/* Whether what is under way gets on, so that more time is worth asking for. */
static bool is_moving(const struct master *master, int64_t now)
{
	switch (master->state) {
	case MASTER_STARTING:
		return master->pool.totals.restarts + master->pool.totals.fork_failures == 0;
	case MASTER_SERVING:
		return master->reload.state != RELOAD_IDLE;
	case MASTER_CUTTING:
		return !master->killed;
	default:
		return now < master->deadline;
	}
}

/* Tells the service manager what is to be told. Returns when to look again. */
static int64_t keep_informed(struct master *master, int64_t now)
{
	struct notify_status status;
	int64_t next;

	if (!notify_listens(&master->notify))
		return CLOCK_NEVER;
	status = (struct notify_status){
	    .state = master->state == MASTER_SERVING && master->reload.state != RELOAD_IDLE
		? "reloading"
		: state_name(master),
	    .workers = master->pool.living,
	    .listeners = master->listeners.open,
	};
	next = store_step(&master->store, now);
	return clock_earlier(next,
	    notify_step(&master->notify, &status, is_moving(master, now),
		pool_beats(&master->pool, now), now));
}

/* Returns when to look again. */
static int64_t reconcile(struct master *master, int64_t now)
{
	int64_t next;

	if (master->state == MASTER_STARTING && pool_is_ready(&master->pool))
		became_ready(master);
	if (master->state < MASTER_CLOSING && pool_is_hopeless(&master->pool)) {
		master->failed = true;
		begin_stop(master, now, "no worker can start");
	}
	if (master->state == MASTER_DELAYING && now >= master->deadline)
		begin_stop(master, now, "drain-delay is over");
	if (master->state == MASTER_CLOSING || master->state == MASTER_DRAINING) {
		if (now >= master->deadline)
			begin_cut(master, now, "grace is over");
		else if (master->failed && master->pool.living == 0)
			begin_cut(master, now, "nobody is left to serve");
	}
	next = ports_step(&master->ports, now);
	if (master->state == MASTER_CLOSING) {
		if (ports_are_released(&master->ports))
			master_set_state(master, MASTER_DRAINING);
		else if ((master->pool.living == 0 && ports_want_worker(&master->ports)) ||
		    (ports_want_programs(&master->ports) && !pool_keeps(&master->pool)))
			pool_start_drainer(&master->pool, now);
	}
	if (master->state == MASTER_CUTTING && now >= master->deadline && !master->killed) {
		pool_kill(&master->pool);
		master->killed = true;
		master->deadline = CLOCK_NEVER;
	}
	next = clock_earlier(next, pool_reconcile(&master->pool, now));
	next = clock_earlier(next, reopen_step(&master->reopen, now));
	/* The upgrade before the reload, which has its turn while the other one waits. Who asked
	 * for logs is answered first. */
	if (master->state == MASTER_SERVING && reopen_is_told(&master->reopen))
		next = clock_earlier(next, upgrade_step(&master->upgrade, now));
	if (master->state == MASTER_SERVING && !upgrade_is_busy(&master->upgrade))
		next = clock_earlier(next, reload_step(&master->reload, now));
	next = clock_earlier(next, control_step(&master->control, now));
	next = clock_earlier(next, keep_informed(master, now));
	if (master->state >= MASTER_DELAYING)
		next = clock_earlier(next, upgrade_end(&master->upgrade, now));
	if (master->pool.living == 0 && !upgrade_is_busy(&master->upgrade) &&
	    (master->state == MASTER_DRAINING || master->state == MASTER_CUTTING))
		finish(master, now);
	return clock_earlier(next, master->deadline);
}

/* ---- events ---- */

static void want_workers(struct master *master, const char *signal, size_t wanted)
{
	bool can = pool_want(&master->pool, wanted);

	log_write(&master->log, LOG_NOTICE, "%s: %zu worker%s%s", signal, master->pool.wanted,
	    master->pool.wanted == 1 ? "" : "s", can ? "" : ", as before: that is the limit");
}

/* Whether it is too late for what a signal asks for, which is then said. */
static bool is_too_late(struct master *master, const char *what)
{
	if (master->state < MASTER_DELAYING)
		return false;
	log_write(&master->log, LOG_ERROR, "%s: the server is stopping; going on as before", what);
	return true;
}

static void handle_signals(struct master *master, int64_t now)
{
	/* One look costs little, and nothing that a worker's death brings about may hang on one
	 * flag. */
	if (signals_take(SIGCHLD) || master->state >= MASTER_CLOSING)
		pool_reap(&master->pool, now);
	if (signals_take(SIGQUIT))
		begin_cut(master, now, "QUIT");
	if (signals_take(SIGTERM))
		ask_stop(master, now, "TERM");
	if (signals_take(SIGINT)) {
		if (master->interrupted)
			begin_cut(master, now, "a second INT");
		else
			ask_stop(master, now, "INT");
		master->interrupted = true;
	}
	if (signals_take(SIGTTIN))
		want_workers(master, "TTIN", master->pool.wanted + 1);
	if (signals_take(SIGTTOU))
		want_workers(master, "TTOU", master->pool.wanted - 1);
	if (signals_take(SIGHUP) && !is_too_late(master, "reload"))
		reload_signalled(&master->reload, now);
	if (signals_take(SIGUSR1))
		reopen_signalled(&master->reopen, now);
	if (signals_take(SIGUSR2) && !is_too_late(master, "upgrade") &&
	    !upgrade_ask(&master->upgrade))
		log_write(&master->log, LOG_WARNING,
		    "USR2: a server that was made for one lease is not upgraded");
}

static void signals_ready(struct watch *watch, unsigned events)
{
	(void)watch;
	(void)events;
	signals_clear();
}

static void lifeline_ready(struct watch *watch, unsigned events)
{
	struct master *master = container_of(watch, struct master, lifeline);

	(void)events; /* nobody writes to it: it has ended */
	loop_watch(master->loop, watch, 0);
	begin_stop(master, clock_ms(), "whoever it was for has ended");
}

static void run_loop(struct master *master)
{
	int64_t now = clock_ms();

	for (;;) {
		int64_t next;

		handle_signals(master, now);
		next = reconcile(master, now);
		if (master->state == MASTER_DONE)
			return;
		next = next == CLOCK_NEVER ? -1 : next > now ? next - now : 0;
		if (loop_wait(master->loop, next, &now) == -1)
			log_write(
			    &master->log, LOG_ERROR, "waiting for events: %s", strerror(errno));
	}
}

/* ---- beginning and end ---- */

/* In a child: what is the master's alone. */
static void detach(void *owner)
{
	struct master *master = owner;

	leave_terminal(false);
	control_detach(&master->control);
	reopen_close(&master->reopen);
	pidfile_detach(&master->pidfile);
	fd_close(&master->announce.ready_fd);
	fd_close(&master->announce.parent);
	fd_close(&master->announce.lifeline);
	fd_close(&master->upgrade.result.fd);
	fd_close(&master->rehearsal_result);
	notify_close(&master->notify);
	activation_close(&master->activation);
	loop_close(master->loop);
}

static void other_ended(void *owner, pid_t pid, int status)
{
	upgrade_reaped(&((struct master *)owner)->upgrade, pid, status);
}

int master_refuse(const char *why, int status)
{
	fprintf(stderr, "%slastcall: error: %s\n",
	    log_is_journal(STDERR_FILENO) ? log_priority(LOG_ERROR) : "", why);
	return status;
}

/* Whether any listener has a socket that was passed. */
static bool is_used(const struct master *master, int passed)
{
	for (size_t i = 0; i < master->listeners.count; i++) {
		if (master->listeners.all[i].passed == passed)
			return true;
	}
	return false;
}

/* Closes what was passed and nobody asks for. Whoever passed it listens on, and is to be told. */
static void close_unused(struct master *master)
{
	for (size_t i = 0; i < master->activation.count; i++) {
		struct passed *passed = &master->activation.all[i];

		if (passed->stored || is_used(master, (int)i))
			continue;
		log_write(&master->log, LOG_WARNING,
		    "descriptor %d was passed as \"%s\", and nothing listens on fd:%s: closed",
		    passed->number, passed->name, passed->name);
		fd_close(&passed->fd);
		passed->fault = "was closed at the start, for nothing listened on it";
	}
}

/* Binds what the configuration says. Returns 0 or an exit status; the errors were written. */
static int open_listeners(struct master *master)
{
	struct diagnostics diagnostics = {.out = stderr,
	    .prefix = log_is_journal(STDERR_FILENO) ? log_priority(LOG_ERROR) : NULL};
	int64_t now = clock_ms();

	store_sort(&master->store, &master->activation, master->reload.config);
	listeners_open(&master->listeners, master->reload.config, now, &diagnostics);
	if (diagnostics_end(&diagnostics) > 0)
		return STATUS_FAILED;
	close_unused(master);
	store_adopt(&master->store, master->reload.config);
	/* The workers' group may connect, as far as umask lets it. */
	for (size_t i = 0; master->privilege.change && i < master->listeners.count; i++)
		listener_give(&master->listeners.all[i], master->privilege.account.gid);
	for (size_t i = 0; i < master->listeners.count; i++) {
		if (master->listeners.all[i].state == LISTENER_OPEN)
			ports_say_foreign(&master->ports, &master->listeners.all[i]);
	}
	return 0;
}

void master_connect(struct master *master)
{
	master->pool = (struct pool){
	    .config = master->reload.config,
	    .log = &master->log,
	    .loop = master->loop,
	    .scoreboard = &master->scoreboard,
	    .listeners = &master->listeners,
	    .privilege = &master->privilege,
	    .detach = detach,
	    .other_ended = other_ended,
	    .owner = master,
	};
	master->ports = (struct ports){
	    .config = master->reload.config,
	    .log = &master->log,
	    .listeners = &master->listeners,
	    .pool = &master->pool,
	    .store = &master->store,
	    .privilege = &master->privilege,
	    .next_ttl = CLOCK_NEVER,
	};
	master->store = (struct store){
	    .notify = &master->notify,
	    .log = &master->log,
	    .listeners = &master->listeners,
	};
	master->reopen = (struct reopen){
	    .log = &master->log,
	    .reload = &master->reload,
	    .listeners = &master->listeners,
	    .pool = &master->pool,
	    .control = &master->control,
	};
	master->upgrade = (struct upgrade){
	    .invocation = master->invocation,
	    .parts =
		{
		    .reload = &master->reload,
		    .reopen = &master->reopen,
		    .listeners = &master->listeners,
		    .scoreboard = &master->scoreboard,
		    .pool = &master->pool,
		    .ports = &master->ports,
		    .control = &master->control,
		    .pidfile = &master->pidfile,
		    .log = &master->log,
		    .program = master->invocation != NULL ? master->invocation->program : "",
		    .activation = &master->activation,
		    .notify = &master->notify,
		    .store = &master->store,
		},
	    .log = &master->log,
	    .loop = master->loop,
	    .result = {.fd = -1},
	};
	master->control = (struct control){
	    .config = master->reload.config,
	    .log = &master->log,
	    .loop = master->loop,
	    .ports = &master->ports,
	    .pool = &master->pool,
	    .state = state_name,
	    .stop = stop_for_client,
	    .reload = reload_for_client,
	    .upgrade = upgrade_for_client,
	    .reopen = reopen_for_client,
	    .owner = master,
	    .started = clock_ms(),
	};
}

/* Opens all that is open before the first worker. Returns 0, or an exit status with why, which is
 * empty when the errors were written already. */
static int open_all(struct master *master, char *why, size_t size)
{
	struct config *config = master->reload.config;
	size_t workers = setup_workers(config);

	umask((mode_t)config->umask); /* of logs and Unix sockets too, which the master makes */
	if (setup_log(&master->log, config, why, size) == -1 ||
	    privilege_resolve(&master->privilege, config, why, size) == -1)
		return STATUS_USAGE;
	if (config->pid_file != NULL &&
	    pidfile_open(&master->pidfile, config->pid_file, why, size) == -1)
		return STATUS_FAILED;
	master_connect(master);
	config->max_listeners = setup_listeners(config);
	/* Before the pool: its bells alone can need more than the limit that we were started with.
	 */
	if (privilege_raise_descriptors(&config->max_connections,
		setup_descriptors(config, workers) + master->activation.count, why, size) == -1)
		return STATUS_FAILED;
	if (pool_open(&master->pool, workers) == -1) {
		snprintf(why, size, "cannot prepare %zu workers: %s", workers, strerror(errno));
		return STATUS_FAILED;
	}
	if (listeners_init(&master->listeners, setup_places(config), &master->scoreboard) == -1) {
		snprintf(why, size, "cannot listen: %s", strerror(errno));
		return STATUS_FAILED;
	}
	master->listeners.activation = &master->activation;
	if (setup_services(config, privilege_account(&master->privilege), why, size) == -1)
		return STATUS_FAILED;
	why[0] = '\0';
	if (open_listeners(master) != 0)
		return STATUS_FAILED;
	return control_open(&master->control, why, size) == -1 ? STATUS_FAILED : 0;
}

static void close_all(struct master *master)
{
	control_close(&master->control);
	listeners_close(&master->listeners);
	pool_close(&master->pool);
	pidfile_close(&master->pidfile);
	loop_close(master->loop);
	store_close(&master->store);
	activation_close(&master->activation);
	notify_close(&master->notify);
	fd_close(&master->announce.ready_fd);
	reopen_close(&master->reopen);
	setup_log_close(&master->log);
	reload_close(&master->reload); /* last: the others point into the configuration */
}

int master_hear(struct master *master)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a log that may not grow costs lines */
	master->signals.fd = signals_open(heard);
	master->loop = loop_open(1024);
	if (master->signals.fd == -1 || master->loop == NULL ||
	    loop_watch(master->loop, &master->signals, LOOP_READ) == -1)
		return -1;
	return master->lifeline.fd >= 0 ? loop_watch(master->loop, &master->lifeline, LOOP_READ)
					: 0;
}

void master_init(struct master *master, struct config *config, const struct announce *announce,
    const struct source_of_config *source)
{
	*master = (struct master){
	    .announce = *announce,
	    .state = MASTER_STARTING,
	    .deadline = CLOCK_NEVER,
	    .rehearsal_result = -1,
	    .invocation = source != NULL ? source->invocation : NULL,
	    .pidfile = {.fd = -1},
	    .signals = {.fd = -1, .ready = signals_ready},
	    .lifeline = {.fd = announce->lifeline, .ready = lifeline_ready},
	    .log = {.fd = STDERR_FILENO, .level = LOG_NOTICE},
	    .scoreboard = {.fd = -1},
	    .activation = announce->activation != NULL ? *announce->activation
						       : (struct activation){.all = NULL},
	    .notify = announce->notify != NULL ? *announce->notify : (struct notify){.fd = -1},
	    .reload =
		{
		    .load = source != NULL ? source->load : NULL,
		    .from = source != NULL ? source->from : NULL,
		    .config = config,
		    .log = &master->log,
		    .privilege = &master->privilege,
		    .listeners = &master->listeners,
		    .pool = &master->pool,
		    .ports = &master->ports,
		    .control = &master->control,
		    .notify = &master->notify,
		    .store = &master->store,
		    .next_log = {.fd = STDERR_FILENO},
		},
	};
	master->notify.log = &master->log;
}

int master_serve(struct master *master)
{
	char receipt[384];
	int status;

	run_loop(master);
	write_receipt(master, receipt, sizeof receipt);
	status = master->failed           ? STATUS_FAILED
	    : master->pool.totals.cut > 0 ? STATUS_CUT
					  : STATUS_DONE;
	tell_clients(master);
	say_what_happened(master);
	log_write(&master->log, LOG_NOTICE, "%s", receipt);
	pidfile_say(&master->pidfile, status, receipt);
	close_all(master);
	return status;
}

int master_run(
    struct config *config, const struct announce *announce, const struct source_of_config *source)
{
	struct master master;
	char why[512] = "";
	int status;

	master_init(&master, config, announce, source);
	/* Signals first: one that comes while we start is an orderly stop too. */
	if (master_hear(&master) == -1) {
		status = master_refuse(strerror(errno), STATUS_FAILED);
		config_free(config);
		return status;
	}
	status = open_all(&master, why, sizeof why);
	if (status != 0) {
		if (why[0] != '\0')
			master_refuse(why, status);
		close_all(&master);
		return status;
	}
	announce_listeners(&master);
	return master_serve(&master);
}
