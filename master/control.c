/* Puts endpoints and their clients together; see control.h. */
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "control_parts.h"
#include "descriptor.h"

#define TURN_MS 20 /* what all clients together may take of a turn */
#define COMPLAIN_MS 1000

/* ---- opening ---- */

/* Where the default endpoint is. NULL: there is no place for it. */
static struct control_config *default_config(const struct control *control)
{
	char text[512];
	struct address address;
	const char *why = "it is no path";
	struct control_config *config = NULL;

	if (config_default_control(text, sizeof text) == NULL)
		return NULL;
	if (config_control_address(&address, text, NULL, &why) == 0 && address.form == ADDRESS_UNIX)
		config = config_new_control(&address);
	if (config == NULL)
		log_write(control->log, LOG_NOTICE,
		    "control %.200s: %s; going on without an endpoint for control", text, why);
	else
		config->soft = true;
	return config;
}

/* Opens one endpoint. Returns 0, or -1 with why. */
static int open_one(
    struct control *control, const struct control_config *config, char *why, size_t size)
{
	struct control_endpoint *endpoint;

	if (endpoint_open(&endpoint, control, config, why, size) == 0) {
		log_write(control->log,
		    config->address.form == ADDRESS_UNIX ? LOG_INFO : LOG_NOTICE, "control at %s",
		    endpoint->text);
		return 0;
	}
	if (endpoint != NULL)
		endpoint_close(endpoint);
	if (!config->soft)
		return -1;
	log_write(control->log, LOG_NOTICE,
	    "%s; going on without; \"control PATH;\" in the configuration, or "
	    "LASTCALL_CONTROL=PATH, "
	    "gives this server an endpoint of its own",
	    why);
	return 0;
}

/* The endpoints that a configuration has: its own, or the default one. */
static const struct control_config *configs_of(struct control *control, const struct config *config)
{
	if (config->controls != NULL || config->control_off)
		return config->controls;
	return control_default(control);
}

const struct control_config *control_default(struct control *control)
{
	if (control->fallback == NULL)
		control->fallback = default_config(control);
	return control->fallback;
}

int control_make(struct control *control)
{
	control->busy_end = &control->busy;
	control->endpoints = calloc(CONTROL_ENDPOINTS_MAX, sizeof *control->endpoints);
	control->wheel = malloc(sizeof *control->wheel);
	if (control->endpoints == NULL || control->wheel == NULL)
		return -1;
	wheel_init(control->wheel, clock_ms());
	return 0;
}

int control_open(struct control *control, char *why, size_t size)
{
	if (control_make(control) == -1) {
		snprintf(why, size, "control: %s", strerror(errno));
		return -1;
	}
	for (const struct control_config *at = configs_of(control, control->config); at != NULL;
	     at = at->next)
		if (open_one(control, at, why, size) == -1)
			return -1;
	return 0;
}

/* ---- another configuration ---- */

/* The endpoint that one of another configuration is already, or NULL. */
static struct control_endpoint *find_endpoint(
    struct control *control, const struct control_config *config)
{
	for (size_t i = 0; i < CONTROL_ENDPOINTS_MAX; i++) {
		struct control_endpoint *at = &control->endpoints[i];

		if (at->control != NULL && !at->leaving &&
		    (at->path == NULL || path_socket_is_ours(at->path)) &&
		    strcmp(at->config->address.text, config->address.text) == 0)
			return at;
	}
	return NULL;
}

int control_plan(struct control *control, const struct config *next, char *why, size_t size)
{
	control->next = next;
	for (const struct control_config *at = configs_of(control, next); at != NULL;
	     at = at->next) {
		struct control_endpoint *endpoint = find_endpoint(control, at);
		int result = endpoint != NULL ? endpoint_plan(endpoint, at, why, size)
					      : open_one(control, at, why, size);

		if (result == -1)
			return -1;
	}
	return 0;
}

void control_unplan(struct control *control)
{
	control->next = NULL;
	for (size_t i = 0; control->endpoints != NULL && i < CONTROL_ENDPOINTS_MAX; i++) {
		struct control_endpoint *at = &control->endpoints[i];

		if (at->control != NULL && at->planned)
			endpoint_leave(at);
		else if (at->control != NULL)
			endpoint_unplan(at);
	}
}

void control_adopt(struct control *control)
{
	control->config = control->next;
	control->next = NULL;
	for (size_t i = 0; i < CONTROL_ENDPOINTS_MAX; i++) {
		struct control_endpoint *at = &control->endpoints[i];

		if (at->control == NULL || at->leaving)
			continue;
		if (at->next != NULL)
			endpoint_adopt(at);
		else if (!at->planned)
			endpoint_leave(at);
		else if (endpoint_begin(at) == -1)
			log_write(
			    control->log, LOG_ERROR, "control %s: %s", at->text, strerror(errno));
	}
}

void control_revoke(const struct control_endpoint *endpoint, const struct policy *policy)
{
	for (struct control_client *at = endpoint->control->clients; at != NULL; at = at->next) {
		struct address address;
		const char *why;

		if (at->endpoint != endpoint)
			continue;
		at->revoked = at->revoked || policy == NULL ||
		    (at->owner.peer[0] != '\0' &&
			(address_parse(&address, at->owner.peer, &why) == -1 ||
			    !policy_admits(policy, &address.socket)));
	}
}

bool control_uses(const struct control *control, const struct config *config)
{
	for (size_t i = 0; control->endpoints != NULL && i < CONTROL_ENDPOINTS_MAX; i++) {
		const struct control_config *used = control->endpoints[i].config;

		for (const struct control_config *at = config->controls; at != NULL;
		     at = at->next) {
			if (control->endpoints[i].control != NULL && at == used)
				return true;
		}
	}
	return false;
}

/* ---- a turn ---- */

/* Runs those with something to do, within bounds; the rest come first in the next turn. */
static void run_busy(struct control *control, int64_t now)
{
	while (control->busy != NULL && clock_ms() - now < TURN_MS)
		client_run(control->busy, now);
}

int64_t control_step(struct control *control, int64_t now)
{
	int64_t next = CLOCK_NEVER;
	bool again;

	if (control->wheel == NULL)
		return CLOCK_NEVER;
	wheel_run(control->wheel, now);
	run_busy(control, now);
	for (size_t i = 0; i < CONTROL_ENDPOINTS_MAX; i++) {
		if (control->endpoints[i].control != NULL)
			next = clock_earlier(next, endpoint_step(&control->endpoints[i], now));
	}
	again = control->acted || control->busy != NULL;
	control->acted = false;
	return again ? now : clock_earlier(next, wheel_next(control->wheel));
}

void control_complain(
    const struct control_client *client, const char *code, const char *text, int64_t now)
{
	struct control *control = client->control;
	const struct owner *owner = &client->owner;
	char who[ADDRESS_TEXT], escaped[512], more[64] = "";

	if (control->complained_at != 0 && now - control->complained_at < COMPLAIN_MS) {
		control->complaints++;
		return;
	}
	if (owner->known)
		snprintf(who, sizeof who, "uid %ld, pid %ld", (long)owner->uid, (long)owner->pid);
	else
		snprintf(who, sizeof who, "%s", owner->peer[0] != '\0' ? owner->peer : "unknown");
	if (control->complaints > 0)
		snprintf(more, sizeof more, " (and %llu refusals before that)",
		    (unsigned long long)control->complaints);
	log_escape(escaped, sizeof escaped, text, strlen(text));
	log_write(control->log, LOG_NOTICE, "control %s: refused %s: %s: %s%s",
	    client->endpoint->text, who, code, escaped, more);
	control->complained_at = now;
	control->complaints = 0;
}

void control_reloaded(struct control *control, unsigned number, const struct control_reload *told)
{
	int64_t now = clock_ms();

	for (struct control_client *at = control->clients; at != NULL; at = at->next) {
		/* Those who asked later are answered by the next one. */
		if (at->waits_for_reload == 0 || at->waits_for_reload > number)
			continue;
		at->waits_for_reload = 0;
		request_reload_told(at, told);
		client_answered(at, now);
		client_wake(at);
	}
}

void control_upgraded(struct control *control, unsigned number, const struct control_reload *told)
{
	int64_t now = clock_ms();

	for (struct control_client *at = control->clients; at != NULL; at = at->next) {
		if (!at->waits_for_upgrade)
			continue;
		at->waits_for_upgrade = false;
		at->waits_for_reload = number;
		if (told == NULL)
			continue;
		request_reload_told(at, told);
		client_answered(at, now);
		client_wake(at);
	}
}

void control_reopened(struct control *control, unsigned number, const struct control_reopen *told)
{
	int64_t now = clock_ms();

	for (struct control_client *at = control->clients; at != NULL; at = at->next) {
		if (at->waits_for_reopen == 0 || at->waits_for_reopen > number)
			continue;
		at->waits_for_reopen = 0;
		request_reopen_told(at, told);
		client_answered(at, now);
		client_wake(at);
	}
}

int control_begin(struct control *control)
{
	for (size_t i = 0; i < CONTROL_ENDPOINTS_MAX; i++) {
		struct control_endpoint *at = &control->endpoints[i];

		if (at->control != NULL && !at->leaving && endpoint_begin(at) == -1)
			return -1;
	}
	return 0;
}

/* ---- the end ---- */

void control_stopped(struct control *control, const struct receipt *receipt)
{
	int64_t now = clock_ms();

	for (struct control_client *at = control->clients; at != NULL; at = at->next) {
		struct line_out line = {.length = 0};

		if (at->waits_for_stop) {
			line_put_word(&line, "", "ok");
			control_put_receipt(&line, receipt);
			client_say(at, &line);
			at->waits_for_stop = false;
		}
		client_flush(at, now);
	}
	while (control->clients != NULL)
		client_drop(control->clients);
}

void control_detach(struct control *control)
{
	/* Workers are not trusted with what clients said, a token among it. */
	for (struct control_client *at = control->clients; at != NULL; at = at->next) {
		fd_close(&at->watch.fd);
		memset(at->in, 0, sizeof at->in);
	}
	for (size_t i = 0; control->endpoints != NULL && i < CONTROL_ENDPOINTS_MAX; i++) {
		if (control->endpoints[i].control != NULL)
			endpoint_detach(&control->endpoints[i]);
	}
}

void control_close(struct control *control)
{
	while (control->clients != NULL)
		client_drop(control->clients);
	for (size_t i = 0; control->endpoints != NULL && i < CONTROL_ENDPOINTS_MAX; i++) {
		if (control->endpoints[i].control != NULL)
			endpoint_close(&control->endpoints[i]);
	}
	free(control->endpoints);
	free(control->wheel);
	config_free_control(control->fallback);
	control->endpoints = NULL;
	control->wheel = NULL;
	control->fallback = NULL;
}
