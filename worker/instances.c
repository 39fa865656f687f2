/* Sets of instances; hold it against the picture in instances.h. */
#include "instances.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "clock.h"
#include "launcher.h"
#include "launcher_parts.h"
#include "log.h"
#include "worker.h"

#define LEAVE_MS 1000 /* from the signal until a socket is taken from who does not leave it */
#define SOUND_MS 10000 /* who lived for longer did not fail at its start */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 30000
#define HOLD_MS 1000 /* by then a port that was closing at our birth is closed */
#define RETRY_MS 100 /* until a launcher that could not be had is tried again */
#define RETIRE_LOOK_MS 50 /* between looks for a successor's instances */

enum instance_state { INSTANCE_STARTING, INSTANCE_READY, INSTANCE_ENDING };

struct place;

struct instance {
	struct instances *set;
	struct place *place; /* NULL: it is ENDING, or was replaced */
	enum instance_state state;
	struct launcher_run *run;
	pid_t pid; /* 0: not started yet */
	uint64_t version; /* of the set's listeners that it has */
	int64_t born, signalled; /* ms */
	bool served; /* it was ready once */
	bool killed; /* while it finished what it had, which is cut */
	struct instance *next;
};

struct place {
	struct instance *serving,
	    *successor; /* serving may be STARTING still, if it is the first */
	unsigned failures; /* in a row */
	int64_t not_before; /* ms */
	int64_t age_ends; /* ms: when serving is too old; CLOCK_NEVER */
};

/* A listener that it has, or is leaving. */
struct member {
	struct acceptor *acceptor;
	bool leaving;
	uint64_t left_at; /* the version that has it no more */
};

struct instances {
	struct worker *worker;
	const struct instances_plan *plan;
	struct launcher *launcher;
	struct member members[CHILD_SOCKETS];
	size_t count;
	struct place *places; /* plan->wanted of them */
	struct instance *all; /* list */
	uint64_t version; /* rises whenever a listener comes or is left */
	int64_t retry_at; /* ms: the launcher could not be had, or had no room */
	int64_t hold_until; /* ms: a port that closes has instances of another worker, perhaps */
	bool helpless; /* only a successor of this worker can start any */
	bool told_waiting; /* the log knows that it retires only when a successor is ready */
	struct instances *next;
};

static void set_state(struct instance *instance, enum instance_state state)
{
	instance->state = state;
}

static int64_t back_off(unsigned failures)
{
	int64_t delay = BACKOFF_FIRST_MS;

	if (failures <= 1)
		return 0;
	for (unsigned i = 2; i < failures && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	return delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS;
}

/* ---- an instance ends ---- */

static void end(struct instance *instance, int64_t delay)
{
	struct instances *set = instance->set;

	if (instance->place != NULL && instance->place->serving == instance)
		instance->place->serving = NULL;
	else if (instance->place != NULL)
		instance->place->successor = NULL;
	instance->place = NULL;
	if (instance->state != INSTANCE_ENDING)
		instance->signalled = set->worker->now;
	set_state(instance, INSTANCE_ENDING);
	if (instance->run != NULL)
		launcher_end(set->launcher, instance->run, delay < 0 ? INT32_MAX : delay);
}

static void kill_now(struct instance *instance)
{
	if (instance->killed)
		return;
	end(instance, 0);
	instance->killed = true;
}

static void instance_free(struct instance *instance)
{
	struct instance **link = &instance->set->all;

	while (*link != instance)
		link = &(*link)->next;
	*link = instance->next;
	free(instance);
}

/* For the receipts. Nobody knows how many connections a program had that was killed: it counts as
 * one that was cut. */
static void count_end(const struct instance *instance, int status)
{
	const struct instances *set = instance->set;
	struct slot *self = set->worker->self;
	bool died = status == -1 || WIFSIGNALED(status);
	bool failed = !died && WEXITSTATUS(status) != 0;
	bool stopping = worker_hears_last_call(set->worker);

	slot_add(&self->programs_killed, stopping && died);
	slot_add(&self->programs_failed, stopping && failed);
	slot_add(&self->programs_done, stopping && !died && !failed);
	slot_add(stopping ? &self->cut : &self->broken, instance->killed);
	if (set->count == 0)
		return;
	slot_add(&set->members[0].acceptor->tally->programs_killed, died);
	slot_add(&set->members[0].acceptor->tally->programs_failed, failed);
	slot_add(&set->members[0].acceptor->tally->programs_done, !died && !failed);
	slot_add(&set->members[0].acceptor->tally->cut, instance->killed);
}

/* Its place is empty, and nobody asked for that. what: of a line of the log. */
static void place_failed(struct instance *instance, const char *what)
{
	struct instances *set = instance->set;
	struct place *place = instance->place;
	int64_t delay;
	char next[64] = "starting another";

	place->failures =
	    instance->state == INSTANCE_READY && set->worker->now - instance->born >= SOUND_MS
	    ? 1
	    : place->failures + 1;
	delay = back_off(place->failures);
	place->not_before = set->worker->now + delay;
	if (delay > 0)
		snprintf(next, sizeof next, "starting another in %.1f s", (double)delay / 1000);
	log_write(set->worker->log, LOG_WARNING, "%s: instance %ld %s after %.1f s; %s",
	    set->plan->name, (long)instance->pid, what,
	    (double)(set->worker->now - instance->born) / 1000, next);
}

static void ended(struct worker *worker, void *owner, int status)
{
	struct instance *instance = owner;
	char what[96];

	(void)worker;
	if (instance == NULL)
		return;
	instance->run = NULL;
	if (instance->state == INSTANCE_ENDING && instance->served && status != -1 &&
	    WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		instance->killed = true; /* at end-delay */
	if (status == 0)
		instance->killed = false; /* it was done before that */
	count_end(instance, status);
	if (status == -1)
		snprintf(what, sizeof what, "was lost with its launcher");
	else if (WIFSIGNALED(status))
		snprintf(what, sizeof what, "was killed by signal %d (%s)", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else
		snprintf(what, sizeof what, "exited with status %d", WEXITSTATUS(status));
	if (instance->place != NULL)
		place_failed(instance, what);
	else if (instance->killed)
		log_write(instance->set->worker->log, LOG_WARNING,
		    "%s: instance %ld was killed, %.1f s after it was told to end; what it had is "
		    "cut",
		    instance->set->plan->name, (long)instance->pid,
		    (double)(instance->set->worker->now - instance->signalled) / 1000);
	else
		log_write(instance->set->worker->log, LOG_INFO,
		    "%s: instance %ld %s, %.1f s after it was told to end",
		    instance->set->plan->name, (long)instance->pid, what,
		    (double)(instance->set->worker->now - instance->signalled) / 1000);
	if (instance->place != NULL)
		end(instance, 0);
	instance_free(instance);
}

/* ---- an instance begins ---- */

static void became_ready(struct instance *instance)
{
	struct instances *set = instance->set;
	struct place *place = instance->place;

	if (instance->state != INSTANCE_STARTING || place == NULL)
		return;
	set_state(instance, INSTANCE_READY);
	instance->served = true;
	log_write(set->worker->log, LOG_INFO, "%s: instance %ld is ready after %.1f s",
	    set->plan->name, (long)instance->pid,
	    (double)(set->worker->now - instance->born) / 1000);
	if (place->successor == instance) {
		struct instance *before = place->serving;

		place->successor = NULL;
		place->serving = instance;
		if (before != NULL) {
			before->place = NULL;
			end(before, set->plan->end_delay);
		}
	}
	place->age_ends =
	    set->plan->max_age < 0 ? CLOCK_NEVER : set->worker->now + set->plan->max_age;
}

static void started(void *owner, pid_t pid)
{
	struct instance *instance = owner;

	instance->pid = pid;
	if (!instance->set->plan->notify)
		became_ready(instance);
}

static void said_ready(void *owner)
{
	became_ready(owner);
}

static void failed(void *owner, int error, const char *what)
{
	struct instance *instance = owner;
	char escaped[256], text[384];

	instance->run = NULL;
	log_escape(escaped, sizeof escaped, what, strlen(what));
	snprintf(text, sizeof text, "could not be started: %s%s%s", escaped,
	    escaped[0] != '\0' ? ": " : "", strerror(error));
	if (instance->place != NULL) {
		/* What failed is not tried again at once. */
		instance->place->failures += instance->place->failures == 0;
		place_failed(instance, text);
		end(instance, 0);
	}
	instance_free(instance);
}

static void writable(struct launcher *launcher)
{
	struct instances *set = launcher->user;

	if (set != NULL && set->launcher == launcher)
		set->retry_at = launcher->gone ? set->worker->now + RETRY_MS : 0;
}

static const struct launcher_events events = {
    .started = started,
    .failed = failed,
    .said_ready = said_ready,
    .ended = ended,
    .writable = writable,
};

static bool attach(struct instances *set, struct launcher *launcher)
{
	set->launcher = launcher;
	if (launcher == NULL)
		return false;
	launcher->user = set;
	return launcher_attach(launcher, set->worker, &events) == 0;
}

/* Whether there is a launcher; one is made if it can be. */
static bool have_launcher(struct instances *set)
{
	if (set->launcher != NULL && !set->launcher->gone)
		return true;
	if (set->helpless || set->worker->now < set->retry_at)
		return false;
	if (set->launcher != NULL)
		launcher_leave(set->launcher);
	if (attach(set, set->plan->make_launcher(set->plan->owner)))
		return true;
	set->retry_at = set->worker->now + RETRY_MS;
	if (set->launcher == NULL && errno == EPERM) {
		/* It was made by root; this worker is to be replaced by one that has it. */
		set->helpless = true;
		worker_ask_for_successor(set->worker);
	}
	return false;
}

/* Starts one for a place. Returns it, or NULL: not now. */
static struct instance *begin(struct instances *set, struct place *place)
{
	struct instance *instance;
	int sockets[CHILD_SOCKETS];
	char names[LAUNCHER_NAMES_MAX] = "";
	size_t count = 0, used = 0;

	if (!have_launcher(set) || set->worker->now < set->retry_at)
		return NULL;
	instance = calloc(1, sizeof *instance);
	if (instance == NULL)
		return NULL;
	for (size_t i = 0; i < set->count; i++) {
		if (set->members[i].leaving)
			continue;
		sockets[count++] = set->members[i].acceptor->watch.fd;
		used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
		    used > 0 ? ":" : "", set->plan->name);
	}
	*instance = (struct instance){
	    .set = set,
	    .place = place,
	    .version = set->version,
	    .born = set->worker->now,
	    .next = set->all,
	};
	set->all = instance;
	instance->run = launcher_start_instance(set->launcher, instance, sockets, count, names);
	if (instance->run != NULL)
		return instance;
	set->retry_at = set->worker->now + RETRY_MS;
	instance_free(instance);
	return NULL;
}

/* ---- what should be, against what is ---- */

/* Whether a listener is to be left, for what its word says. */
static bool is_to_leave(const struct acceptor *acceptor)
{
	return acceptor->state == ACCEPTOR_RELEASED || acceptor->closing.left ||
	    (closing_word(acceptor->word) & (WORD_LEAVE | WORD_RELEASED)) != 0;
}

/* Whether every listener is to be left by now, or somebody else's already. Where the worker goes on
 * that is so for each by itself. */
static bool is_over(const struct instances *set)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct acceptor *acceptor = set->members[i].acceptor;

		if (!is_to_leave(acceptor) &&
		    !(set->worker->phase == PHASE_RETIRING &&
			acceptor_is_served_elsewhere(acceptor)))
			return false;
	}
	return true;
}

/* Marks what is to be left. Returns how many are not. */
static size_t mark_leaving(struct instances *set)
{
	bool over = is_over(set), begun = false;
	size_t serving = 0;

	for (size_t i = 0; i < set->count; i++) {
		struct member *member = &set->members[i];
		/* In a stop they all are, within moments of each other: then at once. */
		bool leave =
		    over || (set->worker->phase <= PHASE_RETIRING && is_to_leave(member->acceptor));

		if (leave && !member->leaving) {
			set->version += !begun;
			begun = member->leaving = true;
			member->left_at = set->version;
		}
		serving += !member->leaving;
	}
	return serving;
}

static bool is_cut(const struct instances *set)
{
	if (set->worker->phase == PHASE_CUTTING)
		return true;
	for (size_t i = 0; i < set->count; i++) {
		if (!(closing_word(set->members[i].acceptor->word) & WORD_CUT))
			return false;
	}
	return set->count > 0;
}

/* When a listener may be let go of: now, CLOCK_NEVER (somebody who has it was not told yet), or
 * then. *held: somebody has it. */
static int64_t when_free(const struct instances *set, const struct member *member, bool *held)
{
	int64_t at = set->worker->now;

	*held = false;
	for (const struct instance *i = set->all; i != NULL; i = i->next) {
		if (i->version >= member->left_at)
			continue;
		*held = true;
		if (i->state != INSTANCE_ENDING)
			return CLOCK_NEVER;
		if (i->signalled + LEAVE_MS > at)
			at = i->signalled + LEAVE_MS;
	}
	return at;
}

/* Lets go of what nobody has any more, or for too long. The place of a listener in the set is kept
 * until nobody has it. */
static int64_t let_go(struct instances *set)
{
	int64_t next = CLOCK_NEVER;

	for (size_t i = set->count; i-- > 0;) {
		struct member *member = &set->members[i];
		bool held;
		int64_t at;

		if (!member->leaving)
			continue;
		at = when_free(set, member, &held);
		if (!held || at <= set->worker->now)
			acceptor_let_go(member->acceptor);
		else
			next = clock_earlier(next, at);
		if (held || member->acceptor->state != ACCEPTOR_RELEASED)
			continue;
		tally_end_present(member->acceptor->tally);
		acceptor_connection_ended(member->acceptor);
		*member = set->members[--set->count];
	}
	return next;
}

/* Kills who has not become ready in time. Returns when the next one is due. */
static int64_t look_at_starting(struct instances *set)
{
	int64_t next = CLOCK_NEVER;
	struct instance *at = set->all, *following;

	for (; at != NULL; at = following) {
		following = at->next;
		if (at->state != INSTANCE_STARTING || at->place == NULL)
			continue;
		if (set->worker->now - at->born < set->plan->start_timeout) {
			next = clock_earlier(next, at->born + set->plan->start_timeout);
			continue;
		}
		place_failed(at, "was not ready within start-timeout, and is killed,");
		end(at, 0);
	}
	return next;
}

/* Whether the instance of a place is to be replaced while it serves. */
static bool is_stale(const struct instances *set, const struct place *place)
{
	return place->serving != NULL && place->serving->state == INSTANCE_READY &&
	    (place->serving->version < set->version || set->worker->now >= place->age_ends);
}

static size_t count_successors(const struct instances *set)
{
	size_t count = 0;

	for (size_t i = 0; i < set->plan->wanted; i++)
		count += set->places[i].successor != NULL;
	return count;
}

/* Ends those of a place that have not become ready, and have what is not wanted any more. */
static void drop_unready(struct instances *set, struct place *place)
{
	if (place->serving != NULL && place->serving->state == INSTANCE_STARTING &&
	    place->serving->version < set->version)
		end(place->serving, set->plan->end_delay);
	if (place->successor != NULL && place->successor->version < set->version)
		end(place->successor, set->plan->end_delay);
	if (place->serving == NULL && place->successor != NULL) {
		place->serving = place->successor;
		place->successor = NULL;
	}
}

/* Fills one place. Returns when to look at it again; never now, or nothing could be done but to try
 * for ever. */
static int64_t fill_place(struct instances *set, struct place *place)
{
	int64_t now = set->worker->now;
	bool stale;

	drop_unready(set, place);
	stale = is_stale(set, place);
	if (place->successor != NULL)
		return CLOCK_NEVER;
	if (place->serving != NULL && !stale)
		return place->serving->state == INSTANCE_READY ? place->age_ends : CLOCK_NEVER;
	if (now < place->not_before)
		return place->not_before;
	/* Those that are only too old one after the other. */
	if (stale && place->serving->version == set->version && count_successors(set) > 0)
		return now + RETRY_MS;
	if (stale)
		place->successor = begin(set, place);
	else
		place->serving = begin(set, place);
	return place->serving == NULL || (stale && place->successor == NULL) ? now + RETRY_MS
									     : CLOCK_NEVER;
}

static int64_t fill(struct instances *set)
{
	int64_t next = CLOCK_NEVER;

	for (size_t i = 0; i < set->plan->wanted; i++)
		next = clock_earlier(next, fill_place(set, &set->places[i]));
	return next;
}

/* Ends all that serve: every listener is to be left. */
static void end_all(struct instances *set, bool cut)
{
	for (struct instance *at = set->all; at != NULL; at = at->next) {
		if (cut)
			kill_now(at);
		else if (at->state != INSTANCE_ENDING)
			end(at, set->plan->end_delay);
	}
}

/* What status shows, and what another worker goes by that waits for us. */
static void publish(const struct instances *set)
{
	uint64_t alive = 0, ready = 0, whole = 0, old = 0;

	for (const struct instance *at = set->all; at != NULL; at = at->next) {
		alive += at->pid != 0;
		ready += at->state == INSTANCE_READY;
		whole += at->state == INSTANCE_READY && at->version == set->version;
		old += at->state == INSTANCE_ENDING;
	}
	for (size_t i = 0; i < set->count; i++) {
		const struct member *member = &set->members[i];
		struct tally *tally = member->acceptor->tally;

		atomic_store(&tally->instances, alive);
		atomic_store(&tally->instances_ready, ready);
		atomic_store(&tally->serves, !member->leaving && whole >= set->plan->wanted);
		/* A port that is closed is not over before its instances are. */
		atomic_store(&tally->open, member->leaving ? old : 0);
	}
}

/* A worker that retires serves on until its successor does. That is worth a line if it lasts. */
static int64_t wait_for_successor(struct instances *set, size_t serving)
{
	if (set->worker->phase != PHASE_RETIRING || serving == 0)
		return CLOCK_NEVER;
	if (!set->told_waiting)
		log_write(set->worker->log, LOG_INFO,
		    "%s: its instances go on until others are ready", set->plan->name);
	set->told_waiting = true;
	return set->worker->now + RETIRE_LOOK_MS;
}

static int64_t step(struct instances *set)
{
	size_t serving = mark_leaving(set);
	bool cut = is_cut(set);
	int64_t next;

	next = look_at_starting(set);
	if (cut || serving == 0)
		end_all(set, cut);
	else if (set->worker->now < set->hold_until && set->all == NULL)
		next = clock_earlier(next, set->hold_until);
	else
		next = clock_earlier(next, fill(set));
	publish(set);
	next = clock_earlier(next, wait_for_successor(set, serving));
	return clock_earlier(next, let_go(set));
}

int64_t instances_step(struct worker *worker)
{
	int64_t next = CLOCK_NEVER;

	for (struct instances *at = worker->instances; at != NULL; at = at->next)
		next = clock_earlier(next, step(at));
	return next;
}

/* ---- the set ---- */

struct instances *instances_open(
    struct worker *worker, const struct instances_plan *plan, struct launcher *launcher)
{
	struct instances *set = calloc(1, sizeof *set);

	if (set == NULL)
		return NULL;
	set->places = calloc(plan->wanted, sizeof *set->places);
	set->worker = worker;
	set->plan = plan;
	if (set->places == NULL || (launcher != NULL && !attach(set, launcher))) {
		free(set->places);
		free(set);
		return NULL;
	}
	for (size_t i = 0; i < plan->wanted; i++)
		set->places[i].age_ends = CLOCK_NEVER;
	set->next = worker->instances;
	worker->instances = set;
	return set;
}

void instances_add(struct instances *set, struct acceptor *acceptor)
{
	if (set->count == CHILD_SOCKETS) {
		log_write(set->worker->log, LOG_ERROR,
		    "%s: cannot have more than %d listeners: another one is not served",
		    set->plan->name, CHILD_SOCKETS);
		acceptor->refusing = true;
		return;
	}
	if (set->count == 0 && (closing_word(acceptor->word) & WORD_CLOSING))
		set->hold_until = set->worker->now + HOLD_MS;
	set->version++;
	acceptor->connections++; /* it stays until nobody of ours has it */
	set->members[set->count++] = (struct member){.acceptor = acceptor};
}

void instances_close(struct instances *set)
{
	struct instances **link = &set->worker->instances;

	while (*link != set)
		link = &(*link)->next;
	*link = set->next;
	if (set->launcher != NULL) {
		set->launcher->user = NULL;
		launcher_leave(set->launcher);
	}
	for (struct instance *at = set->all, *following; at != NULL; at = following) {
		following = at->next;
		if (at->run != NULL)
			at->run->owner = NULL;
		free(at);
	}
	free(set->places);
	free(set);
}
