/*
 * After an upgrade: makes the master again as the program before this one left it, and serves on;
 * or rehearses that in a child, up to where another configuration would be in force.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "master_parts.h"
#include "setup.h"
#include "signals.h"
#include "state.h"

/* Makes everything again as the program before this one left it. Returns 0, or -1 with why. */
static int resume_all(
    struct master *master, struct inheritance *inheritance, char *why, size_t size)
{
	struct config *config = master->reload.config;
	char reason[384];
	int result;

	umask((mode_t)config->umask);
	if (master_hear(master) == -1) {
		snprintf(why, size, "%s", strerror(errno));
		return -1;
	}
	if (setup_log(&master->log, config, why, size) == -1 ||
	    privilege_resolve(&master->privilege, config, why, size) == -1)
		return -1;
	if (inheritance->rehearses)
		master->log.level = LOG_ERROR;
	master_connect(master);
	config->max_listeners = setup_listeners(config);
	if (privilege_raise_descriptors(&config->max_connections,
		setup_descriptors(config, setup_workers(config)), why, size) == -1)
		return -1;
	if (setup_services(config, privilege_account(&master->privilege), reason, sizeof reason) ==
	    -1) {
		snprintf(why, size,
		    "%s; the configuration in force names it: change that by a reload first",
		    reason);
		return -1;
	}
	master->upgrade.parts.rehearses = inheritance->rehearses;
	result = state_resume(&inheritance->in, &master->upgrade.parts);
	snprintf(why, size, "%s", inheritance->in.why);
	/* Before any worker is forked: a token may be in it. */
	carry_close(&inheritance->in);
	return result;
}

/* Goes through all that a reload does before it is in force, with nothing that anybody else has. */
static void rehearse(struct master *master, const struct inheritance *inheritance)
    __attribute__((noreturn));

static void rehearse(struct master *master, const struct inheritance *inheritance)
{
	struct reload_rehearsal rehearsal = {.over = false};
	int64_t now = clock_ms(), end = CLOCK_NEVER;

	if (pool_forget(&master->pool) == -1)
		rehearsal_end(inheritance, "failed", strerror(errno), "");
	master->rehearsal_result = inheritance->result;
	master->reload.rehearsal = &rehearsal;
	reload_ask(&master->reload);
	while (!rehearsal.over || (master->pool.living > 0 && now < end)) {
		int64_t next;

		if (signals_take(SIGCHLD))
			pool_reap(&master->pool, now);
		/* Nobody waits for it any more: what it has made in the system goes with it. */
		if (signals_take(SIGTERM))
			reload_abandon(&master->reload, now);
		next = pool_reconcile(&master->pool, now);
		if (!rehearsal.over)
			next = clock_earlier(next, reload_step(&master->reload, now));
		else if (end == CLOCK_NEVER)
			end = now + CUT_MS;
		next = clock_earlier(next, end);
		loop_wait(master->loop, next <= now ? 0 : next - now, &now);
	}
	pool_kill(&master->pool);
	if (rehearsal.good)
		rehearsal_end(inheritance, "ok", VERSION, "");
	rehearsal_end(inheritance, rehearsal.wrong ? "wrong" : "failed", rehearsal.why,
	    rehearsal.lines != NULL ? rehearsal.lines : "");
}

int master_resume(
    struct config *config, struct inheritance *inheritance, const struct source_of_config *source)
{
	const struct announce silent = {.ready_fd = -1, .parent = -1, .lifeline = -1};
	struct master master;
	char why[512] = "";

	master_init(&master, config, &silent, source);
	master.reload.older = config->older;
	config->older = NULL;
	if (resume_all(&master, inheritance, why, sizeof why) == -1) {
		if (inheritance->rehearses)
			rehearsal_end(inheritance, "failed", why, "");
		log_write(&master.log, LOG_ERROR, "upgrade: cannot go on: %s", why);
		return master_refuse(why, STATUS_FAILED);
	}
	if (inheritance->rehearses)
		rehearse(&master, inheritance);
	inheritance_close(inheritance);
	master_set_state(&master, MASTER_SERVING);
	if (state_begin(&master.upgrade.parts) == -1)
		return master_refuse(strerror(errno), STATUS_FAILED);
	pool_reap(&master.pool, clock_ms());
	log_write(&master.log, LOG_NOTICE, "upgraded: pid %ld goes on in version %s",
	    (long)getpid(), VERSION);
	/* New workers of this program, with the configuration as it is on disk. */
	control_upgraded(&master.control, reload_ask(&master.reload), NULL);
	return master_serve(&master);
}
