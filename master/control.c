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

/* The default endpoint, where the configuration has none. NULL: there is no place for it. */
static struct control_config *default_config(struct control *control)
{
	char text[512];
	struct address address;
	const char *why = "it is no path";
	struct control_config *config = NULL;

	if (control->config->control_off || config_default_control(text, sizeof text) == NULL)
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
	struct control_endpoint *endpoint = &control->endpoints[control->endpoints_count];

	if (endpoint_open(endpoint, control, config, why, size) == 0) {
		control->endpoints_count++;
		log_write(control->log,
		    config->address.form == ADDRESS_UNIX ? LOG_INFO : LOG_NOTICE, "control at %s",
		    endpoint->text);
		return 0;
	}
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

int control_open(struct control *control, char *why, size_t size)
{
	const struct control_config *configs = control->config->controls;
	size_t count = 0;

	control->busy_end = &control->busy;
	if (configs == NULL)
		configs = control->fallback = default_config(control);
	for (const struct control_config *at = configs; at != NULL; at = at->next)
		count++;
	control->endpoints = calloc(count + 1, sizeof *control->endpoints);
	control->wheel = malloc(sizeof *control->wheel);
	if (control->endpoints == NULL || control->wheel == NULL) {
		snprintf(why, size, "control: %s", strerror(errno));
		return -1;
	}
	wheel_init(control->wheel, clock_ms());
	for (const struct control_config *at = configs; at != NULL; at = at->next)
		if (open_one(control, at, why, size) == -1)
			return -1;
	return 0;
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
	for (size_t i = 0; i < control->endpoints_count; i++)
		next = clock_earlier(next, endpoint_step(&control->endpoints[i], now));
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
	for (size_t i = 0; i < control->endpoints_count; i++)
		endpoint_detach(&control->endpoints[i]);
}

void control_close(struct control *control)
{
	while (control->clients != NULL)
		client_drop(control->clients);
	for (size_t i = 0; i < control->endpoints_count; i++)
		endpoint_close(&control->endpoints[i]);
	free(control->endpoints);
	free(control->wheel);
	config_free_control(control->fallback);
	control->endpoints = NULL;
	control->wheel = NULL;
	control->fallback = NULL;
	control->endpoints_count = 0;
}
