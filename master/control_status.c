/*
 * What `status` tells, a line at a time: between two of them ports may open and close, and the next
 * line says what is then. Numbers of workers are shown as they are.
 */
#include <stdio.h>
#include <unistd.h>

#include "clock.h"
#include "closing.h"
#include "control_parts.h"
#include "system.h"

static void put_text(struct line_out *line, const char *key, const char *value)
{
	line_put_word(line, key, value[0] != '\0' ? value : "-");
}

/* A number that is not known or does not apply is "-". */
static void put_number(struct line_out *line, const char *key, bool known, int64_t value)
{
	if (known)
		line_put_number(line, key, value);
	else
		line_put_word(line, key, "-");
}

/* ---- the server ---- */

struct sums {
	uint64_t connections, accepted, requests, turned_away;
	int64_t leases;
};

static void sum_up(const struct control *control, struct sums *sums)
{
	const struct pool *pool = control->pool;
	const struct listeners *listeners = control->ports->listeners;

	*sums = (struct sums){
	    .accepted = pool->totals.accepted,
	    .requests = pool->totals.requests,
	    .turned_away = pool->totals.turned_away,
	};
	for (size_t i = 0; i < pool->capacity; i++) {
		const struct slot *slot = &pool->scoreboard->slots[i];

		if (pool->workers[i].state == WORKER_VACANT)
			continue;
		sums->connections += atomic_load_explicit(&slot->connections, memory_order_relaxed);
		sums->accepted += slot_read(&slot->accepted);
		sums->requests += slot_read(&slot->requests);
		sums->turned_away += slot_read(&slot->turned_away);
	}
	for (size_t i = 0; i < listeners->count; i++)
		if (listeners->all[i].state == LISTENER_OPEN &&
		    listeners->all[i].origin == ORIGIN_LEASED)
			sums->leases++;
}

static void report_server(const struct control *control, struct line_out *line, int64_t now)
{
	const struct pool *pool = control->pool;
	const struct listeners *listeners = control->ports->listeners;
	struct sums sums;

	sum_up(control, &sums);
	line_put_word(line, "", "server");
	line_put_number(line, "pid=", getpid());
	line_put_word(line, "version=", VERSION);
	line_put_word(line, "state=", control->state(control->owner));
	line_put_number(line, "uptime-ms=", now - control->started);
	line_put_number(line, "workers=", (int64_t)pool->living);
	line_put_number(line, "generation=", pool->generation);
	line_put_number(line, "listeners=", (int64_t)listeners->open);
	line_put_number(line, "max-listeners=", control->config->max_listeners);
	line_put_number(line, "leases=", sums.leases);
	line_put_number(line, "connections=", (int64_t)sums.connections);
	line_put_number(line, "accepted=", (int64_t)sums.accepted);
	line_put_number(line, "requests=", (int64_t)sums.requests);
	line_put_number(line, "restarts=", (int64_t)pool->totals.restarts);
	line_put_number(line, "watchdog-kills=", (int64_t)pool->totals.watchdog_kills);
	line_put_number(line, "lost=", (int64_t)pool->totals.lost);
	line_put_number(line, "refused=", (int64_t)control->refused);
	line_put_number(line, "turned-away=", (int64_t)sums.turned_away);
	line_put_word(line, "loop=", loop_name);
	line_put_word(line, "system=", system_name);
}

/* ---- a listener ---- */

static void put_owner(struct line_out *line, const struct owner *owner)
{
	put_number(line, "uid=", owner->known, (int64_t)owner->uid);
	put_number(line, "pid=", owner->known && owner->pid > 0, (int64_t)owner->pid);
	put_text(line, "peer=", owner->peer);
}

static void report_listener(const struct control *control, const struct listener *listener,
    struct line_out *line, int64_t now)
{
	static const char *const origins[] = {
	    [ORIGIN_CONFIGURATION] = "configuration",
	    [ORIGIN_OPENED] = "opened",
	    [ORIGIN_LEASED] = "leased",
	};
	static const char *const states[] = {
	    [LISTENER_OPEN] = "open",
	    [LISTENER_CLOSING] = "closing",
	    [LISTENER_FINISHING] = "finishing",
	    [LISTENER_CLOSED] = "closed",
	};
	enum gate_way way = listener->closing.way;
	struct tally tally;
	char url[ADDRESS_TEXT + 16];

	listener_tally(control->ports->listeners, listener, &tally);
	line_put_word(line, "", "listener");
	line_put_word(line, "address=", listener->text);
	line_put_word(line, "service=", listener->service->name);
	line_put_word(line, "origin=",
	    listener->passed >= 0          ? "passed"
		: listener->stored != NULL ? "stored"
					   : origins[listener->origin]);
	put_owner(line, &listener->owner);
	line_put_word(line, "state=", states[listener->state]);
	line_put_number(line, "connections=", (int64_t)tally.open);
	line_put_number(line, "accepted=", (int64_t)tally.accepted);
	line_put_number(line, "answered=", (int64_t)tally.answered);
	line_put_number(line, "left=", (int64_t)tally.left);
	line_put_number(line, "cut=", (int64_t)tally.cut);
	line_put_number(line, "age-ms=", now - listener->opened);
	line_put_word(line, "proxy-protocol=",
	    listener->block != NULL && listener->block->proxy_protocol ? "on" : "off");
	put_number(
	    line, "instances=", listener->service->kind->accepts_itself, (int64_t)tally.instances);
	put_number(line, "ready=", listener->service->kind->accepts_itself,
	    (int64_t)tally.instances_ready);
	put_number(line, "ttl-ms=", listener->ttl_ends != CLOCK_NEVER,
	    listener->ttl_ends > now ? listener->ttl_ends - now : 0);
	put_text(line, "gate=", way != GATE_NONE ? gate_way_name(way) : "");
	put_text(line, "url=", listener_url(listener, url, sizeof url));
}

/* ---- a worker ---- */

static void report_worker(
    const struct control *control, unsigned slot, struct line_out *line, int64_t now)
{
	static const char *const states[] = {
	    [WORKER_STARTING] = "starting",
	    [WORKER_SERVING] = "serving",
	    [WORKER_RETIRING] = "retiring",
	    [WORKER_ABORTED] = "aborted",
	};
	const struct pool *pool = control->pool;
	const struct worker_process *worker = &pool->workers[slot];
	const struct slot *numbers = &pool->scoreboard->slots[slot];
	bool stopped = atomic_load_explicit(&numbers->state, memory_order_relaxed) == SLOT_STOPPED;

	line_put_word(line, "", "worker");
	line_put_number(line, "slot=", slot);
	line_put_number(line, "pid=", worker->pid);
	line_put_number(line, "generation=", worker->generation);
	line_put_word(line, "state=",
	    stopped            ? "stopped"
		: worker->heir ? states[WORKER_STARTING]
			       : states[worker->state]);
	line_put_number(line,
	    "connections=", atomic_load_explicit(&numbers->connections, memory_order_relaxed));
	line_put_number(line, "requests=", (int64_t)slot_read(&numbers->requests));
	line_put_number(line, "accepted=", (int64_t)slot_read(&numbers->accepted));
	line_put_number(
	    line, "restarts=", worker->seat >= 0 ? pool->seats[worker->seat].failures : 0);
	line_put_number(line, "age-ms=", now - worker->born);
}

/* ---- in turn ---- */

bool report_line(const struct control *control, struct control_report *report,
    struct line_out *line, int64_t now)
{
	const struct listeners *listeners = control->ports->listeners;
	const struct pool *pool = control->pool;

	switch (report->part) {
	case REPORT_SERVER:
		report_server(control, line, now);
		report->part = REPORT_LISTENERS;
		return true;
	case REPORT_LISTENERS:
		while (report->at < listeners->count) {
			const struct listener *listener = &listeners->all[report->at++];

			if (listener->state == LISTENER_VACANT || listener->state == LISTENER_BOUND)
				continue;
			report_listener(control, listener, line, now);
			return true;
		}
		*report = (struct control_report){.part = REPORT_WORKERS};
		/* fall through */
	case REPORT_WORKERS:
		while (report->at < pool->capacity) {
			unsigned slot = (unsigned)report->at++;

			if (pool->workers[slot].state == WORKER_VACANT)
				continue;
			report_worker(control, slot, line, now);
			return true;
		}
		report->part = REPORT_END;
		/* fall through */
	case REPORT_END:
		line_put_word(line, "", "ok");
		report->part = REPORT_OVER;
		return true;
	case REPORT_OVER:
		break;
	}
	return false;
}
