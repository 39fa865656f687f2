/*
 * echo: sends back what comes. The service to copy: it shows each call that a service answers.
 *
 * A connection is owed every byte that it sent. It reads until the client shuts its side, writes
 * all of that, and ends. A client that is silent for `idle` has had its answer, and is closed.
 */
#include <stddef.h>
#include <unistd.h>

#include "service.h"
#include "worker.h"

#define TURNS_MAX 64 /* of one connection in one go, before the others have theirs */

struct echo_options {
	int64_t idle; /* ms */
};

struct echo {
	bool ended; /* the client has shut its side */
};

static const struct directive echo_directives[] = {
    {.name = "idle",
	.type = DIRECTIVE_DURATION,
	.offset = offsetof(struct echo_options, idle),
	.min = 10,
	.max = INT64_C(86400000),
	.initial = "10s"},
    {.name = NULL},
};

static const struct echo_options *options_of(const struct connection *c)
{
	return c->options;
}

static void echo_ready(struct connection *c, unsigned events)
{
	struct echo *echo = connection_private(c);
	bool drained = false;

	(void)events;
	for (int turns = 1;; turns++) {
		enum transfer got;

		if (c->out != NULL) {
			got = connection_flush(c);
			if (got == TRANSFER_GONE) {
				connection_close(c, OUTCOME_LEFT);
				return;
			}
			connection_deadline(c, options_of(c)->idle);
			if (got == TRANSFER_AGAIN) {
				connection_want(c, LOOP_WRITE);
				return;
			}
			c->answered = true;
		}
		if (echo->ended) {
			connection_finish(c, true);
			return;
		}
		connection_set_state(c, c->answered ? CONNECTION_IDLE : CONNECTION_FRESH);
		got = drained ? TRANSFER_AGAIN : connection_read(c, &drained);
		if (got == TRANSFER_GONE) {
			connection_close(c, c->answered ? OUTCOME_ANSWERED : OUTCOME_LEFT);
			return;
		}
		if (got == TRANSFER_AGAIN) {
			connection_rest(c);
			connection_want(c, LOOP_READ);
			return;
		}
		connection_set_state(c, CONNECTION_BUSY);
		echo->ended = got == TRANSFER_END;
		if (turns >= TURNS_MAX)
			drained = true; /* what is still there is read in the next turn */
		if (c->in != NULL && buffer_length(c->in) == 0)
			connection_rest(c);
		c->out = c->in; /* what came is what is sent */
		c->in = NULL;
	}
}

static void echo_open(struct connection *c)
{
	worker_count_request(c->worker);
	connection_deadline(c, options_of(c)->idle);
	echo_ready(c, LOOP_READ);
}

static void echo_expire(struct connection *c)
{
	if (c->out != NULL)
		connection_close(c, OUTCOME_BROKEN); /* it does not read what it asked for */
	else
		connection_finish(c, false);
}

static void echo_refuse(int fd)
{
	(void)fd; /* the end of the connection is all that echo can say */
}

const struct service echo_service = {
    .kind =
	{
	    .name = "echo",
	    .summary = "sends back what it is sent",
	    .directives = echo_directives,
	    .options_size = sizeof(struct echo_options),
	},
    .open = echo_open,
    .ready = echo_ready,
    .expire = echo_expire,
    .refuse = echo_refuse,
};
