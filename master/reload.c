/* Puts another configuration in force; see reload.h. */
#include "reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "directive.h"
#include "setup.h"

#define SIGNALS_MS 1000 /* between reloads that signals ask for */
#define LEAVE_MS 2000 /* that workers of before may take to leave the listeners */
#define SWEEP_MS 1000 /* between looks at configurations that are still needed */

static void set_state(struct reload *reload, enum reload_state state)
{
	reload->state = state;
}

unsigned reload_ask(struct reload *reload)
{
	/* One that is under way has read the file already. */
	reload->asked = reload->begun + 1;
	reload->not_before = 0;
	return reload->asked;
}

void reload_signalled(struct reload *reload, int64_t now)
{
	if (reload->asked == reload->begun && reload->begun > 0 &&
	    now - reload->begun_at < SIGNALS_MS)
		reload->not_before = reload->begun_at + SIGNALS_MS;
	reload->asked = reload->begun + 1;
}

/* ---- the end of one ---- */

static void log_lines(struct log *log, const char *lines)
{
	while (*lines != '\0') {
		int length = (int)strcspn(lines, "\n");

		log_write(log, LOG_ERROR, "%.*s", length, lines);
		lines += length + (lines[length] == '\n');
	}
}

/* It came to nothing. lines: what is wrong, as a compiler says it. */
static void fail(struct reload *reload, bool wrong, const char *lines, const char *why)
{
	const struct control_reload told = {.wrong = wrong, .lines = lines, .why = why};
	struct reload_rehearsal *rehearsal = reload->rehearsal;

	if (rehearsal != NULL) {
		rehearsal->over = true;
		rehearsal->wrong = wrong;
		snprintf(rehearsal->why, sizeof rehearsal->why, "%s", why);
		rehearsal->lines = strdup(lines);
		return;
	}
	log_lines(reload->log, lines);
	log_write(reload->log, LOG_ERROR, "reload: %s; going on as before", why);
	notify_reloaded(reload->notify, why);
	control_reloaded(reload->control, reload->begun, &told);
}

/* Undoes all that was prepared. */
static void undo(struct reload *reload, int64_t now)
{
	uint64_t cut;

	if (reload->pool->renewal != RENEWAL_NONE)
		pool_renew_abandon(reload->pool, now);
	control_unplan(reload->control);
	cut = listeners_unplan(reload->listeners);
	if (cut > 0)
		log_write(reload->log, LOG_WARNING,
		    "reload: %llu connections that came in meanwhile were cut",
		    (unsigned long long)cut);
	reload->pool->totals.lost += cut;
	umask((mode_t)reload->config->umask);
	setup_release(reload->next);
	setup_log_close(&reload->next_log);
	config_free(reload->next);
	reload->next = NULL;
	set_state(reload, RELOAD_IDLE);
}

/* ---- the beginning ---- */

/* The same text, or both none. */
static bool same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* What only a start can change, where the configuration says it. */
static void refuse_change(
    const struct config *next, const char *name, const char *why, struct diagnostics *d)
{
	const struct config_setting *setting =
	    config_setting_find(next, directive_find(config_directives, name), next);
	const struct position nowhere = {.width = 1};

	config_error(next, d, setting != NULL ? &setting->at : &nowhere, "%s: %s", name, why);
}

static void check_changes(struct reload *reload, struct diagnostics *d)
{
	struct config *next = reload->next;
	const struct config *config = reload->config;
	char why[1024];

	if (!same(next->pid_file, config->pid_file)) {
		/* Both, for a relative path may be another one though its line is the same. */
		snprintf(why, sizeof why,
		    "it can be changed by a restart only: it is %.440s, and would be %.440s",
		    config->pid_file != NULL ? config->pid_file : "none",
		    next->pid_file != NULL ? next->pid_file : "none");
		refuse_change(next, "pid-file", why, d);
	}
	if (next->max_listeners == DIRECTIVE_AUTO)
		next->max_listeners = setup_listeners(next);
	else if (setup_places(next) > reload->listeners->capacity)
		refuse_change(next, "max-listeners",
		    "there is no room for so many, which is made at the start", d);
	if (setup_places(next) > reload->listeners->capacity)
		next->max_listeners = config->max_listeners;
}

/* Reads and prepares all that can fail, and starts the new workers. Returns 0, or -1 with lines in
 * d and a sentence in why; *wrong says whether the configuration is. */
static int prepare(
    struct reload *reload, int64_t now, struct diagnostics *d, bool *wrong, char *why, size_t size)
{
	struct config *next = reload->next;
	size_t workers = setup_workers(next);
	struct pool_plan plan = {
	    .config = next,
	    .privilege = &reload->next_privilege,
	    .log = &reload->next_log,
	    .wanted = workers,
	};

	*wrong = true;
	snprintf(why, size, "the configuration is wrong");
	check_changes(reload, d);
	if (d->errors > 0)
		return -1;
	umask((mode_t)next->umask);
	if (privilege_resolve(&reload->next_privilege, next, why, size) == -1 ||
	    setup_log(&reload->next_log, next, why, size) == -1)
		return -1;
	*wrong = false;
	if (privilege_raise_descriptors(&next->max_connections,
		setup_descriptors(next, workers) + reload->listeners->activation->count, why,
		size) == -1 ||
	    setup_services(next, privilege_account(&reload->next_privilege), why, size) == -1)
		return -1;
	snprintf(why, size, "it cannot listen on all addresses");
	if (listeners_plan(reload->listeners, next, now, d) == -1)
		return -1;
	if (control_plan(reload->control, next, why, size) == -1)
		return -1;
	return pool_renew(reload->pool, &plan, why, size);
}

static void begin(struct reload *reload, int64_t now)
{
	char why[768] = "there is no configuration to read again", *lines = NULL;
	size_t length = 0;
	bool wrong = true;
	struct diagnostics d = {.out = open_memstream(&lines, &length)};

	reload->begun = reload->asked;
	reload->begun_at = now;
	reload->not_before = 0;
	notify_reloading(reload->notify);
	if (d.out == NULL) {
		fail(reload, false, "", strerror(errno));
		return;
	}
	reload->next = NULL;
	if (reload->load != NULL) {
		reload->next = reload->load(reload->from, &d);
		snprintf(why, sizeof why, "the configuration is wrong");
	}
	if (reload->next != NULL)
		set_state(reload, RELOAD_STARTING);
	if (reload->next == NULL || prepare(reload, now, &d, &wrong, why, sizeof why) == -1) {
		/* What load says it has ended itself. */
		if (reload->next != NULL)
			diagnostics_end(&d);
		fclose(d.out);
		fail(reload, wrong, lines != NULL ? lines : "", why);
		if (reload->next != NULL)
			undo(reload, now);
	} else {
		fclose(d.out);
	}
	free(lines);
}

/* ---- in force ---- */

/* Frees the configurations that nothing needs any more. */
static void sweep(struct reload *reload, int64_t now)
{
	struct config **link = &reload->older;

	reload->sweep_at = now + SWEEP_MS;
	while (*link != NULL) {
		struct config *config = *link;

		if (listeners_use(reload->listeners, config) ||
		    control_uses(reload->control, config)) {
			link = &config->older;
			continue;
		}
		setup_release(config);
		/* Where its workers write their logs is known from it as long as they live. */
		if (pool_uses(reload->pool, config)) {
			link = &config->older;
			continue;
		}
		*link = config->older;
		config_free(config);
	}
}

/* The paths of Unix sockets that are new are the workers', as far as umask lets them. */
static void give_paths(const struct reload *reload)
{
	for (size_t i = 0; reload->privilege->change && i < reload->listeners->count; i++) {
		const struct listener *listener = &reload->listeners->all[i];

		if (listener->state == LISTENER_OPEN && listener->origin == ORIGIN_CONFIGURATION)
			listener_give(listener, reload->privilege->account.gid);
	}
}

static void commit(struct reload *reload, int64_t now)
{
	struct config *old = reload->config;
	struct ports_adopted count;

	reload->config = reload->next;
	reload->next = NULL;
	if (reload->config->error_log != NULL && !same(reload->config->error_log, old->error_log))
		log_write(reload->log, LOG_NOTICE, "reloaded: the log goes on in %s",
		    reload->config->error_log);
	log_succeed(&reload->next_log, reload->log);
	setup_log_close(reload->log);
	*reload->log = reload->next_log;
	reload->next_log = (struct log){.fd = STDERR_FILENO};
	*reload->privilege = reload->next_privilege;
	listeners_plan_ports(reload->listeners, reload->config);
	count = ports_adopt(reload->ports, reload->config, now);
	give_paths(reload);
	pool_renew_commit(reload->pool, now);
	control_adopt(reload->control);
	store_adopt(reload->store, reload->config);
	old->older = reload->older;
	reload->older = old;
	sweep(reload, now);
	set_state(reload, RELOAD_IDLE);
	log_write(reload->log, LOG_NOTICE,
	    "reloaded: generation %u, %zu worker%s%s%s; listeners: %zu kept, %zu opened, %zu "
	    "closed",
	    reload->pool->generation, reload->pool->wanted, reload->pool->wanted == 1 ? "" : "s",
	    reload->privilege->change ? " as " : "",
	    reload->privilege->change ? reload->privilege->account.user : "", count.kept,
	    count.opened, count.closed);
	notify_reloaded(reload->notify, NULL);
	/* Closed by hand while it was planned, and so not open as the file has it: once more. */
	if (count.missed > 0)
		reload_signalled(reload, now);
	reload->untold = reload->begun;
	reload->tell_at = now + LEAVE_MS;
}

/* Tells who asked for the one that is in force, when it is time. Returns when it will be. */
static int64_t tell(struct reload *reload, bool at_once, int64_t now)
{
	const struct control_reload told = {
	    .done = true, .lines = "", .why = "", .generation = reload->pool->generation};

	if (reload->untold == 0)
		return CLOCK_NEVER;
	if (!at_once && now < reload->tell_at && !pool_has_left(reload->pool))
		return reload->tell_at;
	control_reloaded(reload->control, reload->untold, &told);
	reload->untold = 0;
	return CLOCK_NEVER;
}

bool reload_is_idle(const struct reload *reload)
{
	return reload->state == RELOAD_IDLE && reload->untold == 0;
}

int64_t reload_step(struct reload *reload, int64_t now)
{
	int64_t next = tell(reload, false, now);
	char why[512];

	if (reload->state == RELOAD_IDLE) {
		if (reload->older != NULL && now >= reload->sweep_at)
			sweep(reload, now);
		if (reload->asked == reload->begun)
			return clock_earlier(
			    next, reload->older != NULL ? reload->sweep_at : CLOCK_NEVER);
		if (now < reload->not_before)
			return clock_earlier(next, reload->not_before);
		tell(reload, true, now);
		begin(reload, now);
		return now;
	}
	if (reload->pool->renewal == RENEWAL_STARTING)
		return CLOCK_NEVER;
	if (reload->rehearsal != NULL && reload->pool->renewal == RENEWAL_READY) {
		undo(reload, now);
		reload->rehearsal->over = reload->rehearsal->good = true;
		return now;
	}
	if (reload->pool->renewal == RENEWAL_READY &&
	    listeners_start_planned(
		reload->listeners, (int)reload->next->backlog, why, sizeof why) == 0) {
		commit(reload, now);
		return now;
	}
	if (reload->pool->renewal == RENEWAL_FAILED)
		snprintf(why, sizeof why, "%s", reload->pool->renewal_why);
	fail(reload, false, "", why);
	undo(reload, now);
	return now;
}

void reload_abandon(struct reload *reload, int64_t now)
{
	tell(reload, true, now);
	if (reload->state != RELOAD_IDLE) {
		fail(reload, false, "", "the server is stopping");
		undo(reload, now);
	}
	if (reload->asked != reload->begun) {
		const struct control_reload told = {.lines = "", .why = "the server is stopping"};

		reload->begun = reload->asked;
		if (reload->rehearsal != NULL)
			reload->rehearsal->over = true; /* its clients are another process's */
		else
			control_reloaded(reload->control, reload->begun, &told);
	}
}

void reload_close(struct reload *reload)
{
	setup_release(reload->config);
	config_free(reload->config);
	reload->config = NULL;
	while (reload->older != NULL) {
		struct config *config = reload->older;

		reload->older = config->older;
		setup_release(config);
		config_free(config);
	}
}
