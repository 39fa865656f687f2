/*
 * http: serves a folder. Reads heads with the pure parser, and keeps the time; what a request gets
 * is decided in respond.c, and one read and one write are enough for a small file.
 *
 *   HEAD ──whole head──► BODY ──body read away──► ANSWER ──sent──► HEAD, or the end
 *                                   │                ▲
 *                                   └──► VERIFY ─────┘
 *
 *   HEAD    waits for a request. Answers to pipelined requests gather in the output buffer and are
 *           sent before waiting.
 *   BODY    reads away a request's body, of which there is a limit.
 *   VERIFY  waits for its turn to have a password checked, which is slow (auth.h).
 *   ANSWER  sends a file that does not fit into the buffer. The head stays in the input buffer for
 *           the access log.
 */
#include "http.h"

#include <string.h>
#include <sys/socket.h>

#include "system.h"

#define KEEPALIVE_EXTRA_MS 1000 /* kept longer than promised, for what is on its way */
#define STEPS_MAX                                                                                  \
	256 /* of one connection in one go, after which it reads no more before the others had     \
	       theirs */
#define BODY_STEPS 16 /* what a buffer of a body counts for: to read it takes longer */

/* ---- the steps; each returns false when the connection waits or has ended ---- */

bool http_wait_for_room(struct connection *c)
{
	struct http *http = http_of(c);

	connection_set_state(c, CONNECTION_BUSY);
	connection_deadline(c, options_of(c)->send_timeout);
	http->timed = false;
	http->untaken = system_untaken(c->watch.fd);
	connection_want(c, LOOP_WRITE);
	return false;
}

/*
 * Whether who takes an answer has taken something since it was last looked at: the loop says that
 * there is room only when there is much of it. Then it has as long again.
 */
static bool still_takes(struct connection *c)
{
	int untaken = system_untaken(c->watch.fd);

	if (untaken == -1 || untaken >= http_of(c)->untaken)
		return false;
	http_of(c)->untaken = untaken;
	connection_deadline(c, options_of(c)->send_timeout);
	return true;
}

bool http_flush(struct connection *c)
{
	enum transfer sent;

	if (c->out == NULL)
		return true;
	sent = connection_flush(c);
	if (sent == TRANSFER_SOME)
		return true;
	if (sent == TRANSFER_AGAIN)
		return http_wait_for_room(c);
	connection_close(c, OUTCOME_LEFT);
	return false;
}

/*
 * How long a client may still take for what it has begun. A head has header-timeout in all. A body
 * may be large: it has as long until its next bytes come, and on the average of all of it, after
 * that much time for a start, must come at min-body-rate.
 */
static int64_t time_to_send(struct connection *c)
{
	struct http *http = http_of(c);
	const struct http_options *options = options_of(c);
	int64_t now = c->worker->now, due;

	if (http->step != STEP_BODY)
		return options->header_timeout;
	if (!http->timed) {
		http->body_began = now;
		http->body_received = 0;
	}
	due = http->body_began + options->header_timeout +
	    (int64_t)(http->body_received * 1000 / (uint64_t)options->min_body_rate);
	return due - now < options->header_timeout ? due - now : options->header_timeout;
}

/* Nothing more can be done before the client sends: says so to the loop. */
static void wait_for_bytes(struct connection *c, bool begun)
{
	connection_rest(c);
	if (begun) {
		/* The deadline is for the whole head, so it is set when that begins and not again.
		 */
		if (!http_of(c)->timed || http_of(c)->step == STEP_BODY)
			connection_deadline(c, time_to_send(c));
		http_of(c)->timed = true;
		if (c->answered)
			connection_set_state(c, CONNECTION_BUSY);
	} else if (c->answered) {
		connection_set_state(c, CONNECTION_IDLE);
		connection_deadline(c, options_of(c)->keepalive + KEEPALIVE_EXTRA_MS);
		connection_private_give(c);
	}
	connection_want(c, LOOP_READ | LOOP_EDGE);
}

/* The part of the connection that it has while it is not idle. */
static struct http *wake(struct connection *c)
{
	bool idle = c->private == NULL;
	struct http *http = connection_private(c);

	if (idle)
		request_init(&http->request);
	return http;
}

/* Reads, or waits, or ends. Returns whether there are new bytes. */
static bool read_more(struct connection *c, bool *drained, bool begun)
{
	enum transfer got = *drained ? TRANSFER_AGAIN : connection_read(c, drained);

	if (got == TRANSFER_SOME)
		return true;
	if (got == TRANSFER_AGAIN)
		wait_for_bytes(c, begun);
	else
		connection_close(c, c->answered && !begun ? OUTCOME_ANSWERED : OUTCOME_LEFT);
	return false;
}

/* Asks for the answer, or for the turn in which it can be given. */
static void ask(struct connection *c, int64_t waited)
{
	struct http *http = http_of(c);
	int64_t wait = 0;

	if (waited < 0)
		http->asked = c->worker->now;
	respond(c, waited, &wait);
	if (http->step == STEP_VERIFY)
		http->turn = c->worker->now + wait;
}

/*
 * Whether the client has said that this request is its last, and nothing is here that belies it: so
 * nothing will come that closing could reset the answer for (RFC 9112, 9.6).
 */
static bool is_farewell(const struct connection *c, const struct request *r)
{
	return !r->keep_alive && !r->chunked && r->content_length == 0 &&
	    buffer_length(c->in) == r->head_length;
}

static void begin_answer(struct connection *c)
{
	struct http *http = http_of(c);
	const struct request *r = &http->request;

	http->farewell = is_farewell(c, r);
	if (r->content_length > (uint64_t)options_of(c)->max_body) {
		respond_refuse(c, 413);
	} else if (r->expects_continue && (r->chunked || r->content_length > 0)) {
		/*
		 * A client that waits to be told to go on is told the answer instead. Its body may
		 * come all the same, for it need not wait, so this is the last one.
		 */
		http->request.keep_alive = false;
		ask(c, -1);
	} else if (r->chunked || r->content_length > 0) {
		if (r->chunked)
			body_init_chunked(&http->body, (uint64_t)options_of(c)->max_body);
		else
			body_init_length(&http->body, r->content_length);
		http->step = STEP_BODY;
		http->timed = false; /* the body has a deadline of its own */
	} else {
		ask(c, -1);
	}
}

/* Room for a whole answer in the output buffer; what has gathered is sent first if it is in the
 * way. */
static bool make_room(struct connection *c)
{
	if (c->out != NULL && buffer_room(c->out) < options_of(c)->room && !http_flush(c))
		return false;
	if (c->out == NULL)
		c->out = buffer_take(&c->worker->buffers);
	return true;
}

static bool step_head(struct connection *c, bool *drained)
{
	struct http *http = http_of(c);
	size_t length = c->in != NULL ? buffer_length(c->in) : 0;
	size_t most = (size_t)options_of(c)->max_header;
	enum request_result result;

	if (length == 0)
		return http_flush(c) && read_more(c, drained, false);
	if (!make_room(c))
		return false;
	/* No further than the limit, so that it does not matter in which pieces a head comes. */
	result = request_parse(&http->request, head_bytes(c), length < most ? length : most);
	if (result == REQUEST_MORE && length < most)
		return http_flush(c) && read_more(c, drained, true);
	if (result == REQUEST_BAD)
		respond_refuse(c, http->request.status);
	else if (result == REQUEST_MORE)
		respond_refuse(c, http->request.in_line ? 414 : 431);
	else
		begin_answer(c);
	return true;
}

/*
 * Reads away the body of a request. Its bytes follow the head, which stays for the log; the room
 * behind the head is used again and again.
 */
static bool step_body(struct connection *c, bool *drained)
{
	struct http *http = http_of(c);
	uint32_t head_end = c->in->begin + http->request.head_length;
	char *bytes = c->in->bytes + head_end;
	size_t here = c->in->end - head_end, used;
	enum body_result result = body_read(&http->body, bytes, here, &used);

	if (result == BODY_MORE) {
		http->body_received += here;
		c->in->end = head_end;
		return http_flush(c) && read_more(c, drained, true);
	}
	memmove(bytes, bytes + used, here - used);
	c->in->end -= (uint32_t)used;
	/* Whoever comes again, when there is room, finds the reader where it ended. */
	if (!make_room(c))
		return false;
	if (result == BODY_BAD)
		respond_refuse(c, http->body.status);
	else
		ask(c, -1);
	return true;
}

/* Whatever woke it: not before its turn, or a client could have more than its share of checks. */
static bool step_verify(struct connection *c)
{
	int64_t wait = http_of(c)->turn - c->worker->now;

	if (wait <= 0) {
		if (!make_room(c))
			return false;
		ask(c, c->worker->now - http_of(c)->asked);
		return true;
	}
	if (!http_flush(c))
		return false;
	connection_set_state(c, CONNECTION_BUSY);
	connection_deadline(c, wait);
	connection_want(c, 0);
	return false;
}

static void http_ready(struct connection *c, unsigned events)
{
	struct http *http = wake(c);
	bool drained = false, on = true;
	uint64_t turn = 0;

	/* A request that begins is read first, and answered when all have been. */
	if (events & LOOP_READ && http->step == STEP_HEAD && !http->last && c->out == NULL &&
	    !c->ahead) {
		bool begun = c->in != NULL && buffer_length(c->in) > 0;

		if (read_more(c, &drained, begun)) {
			http->drained = drained;
			connection_answer_later(c);
		}
		return;
	}
	drained = http->drained && (events & LOOP_READ) == 0;
	http->drained = false;
	for (int steps = 0; on; steps++) {
		/* A client that sends faster than it is answered: what it has sent is still there
		 * in the next turn. */
		if (steps >= STEPS_MAX)
			drained = c->unread = true;
		if (http->last && http->step == STEP_HEAD) {
			if (http_flush(c))
				/* Past STEPS_MAX nobody knows whether all was read. */
				connection_finish(
				    c, http->farewell && drained && steps < STEPS_MAX);
			return;
		}
		switch (http->step) {
		case STEP_HEAD:
			on = step_head(c, &drained);
			break;
		case STEP_BODY:
			on = step_body(c, &drained);
			steps += BODY_STEPS - 1;
			break;
		case STEP_VERIFY:
			on = step_verify(c);
			break;
		case STEP_ANSWER:
			on = stream_step(c, &turn);
			break;
		}
	}
}

static void http_open(struct connection *c)
{
	connection_deadline(c, options_of(c)->header_timeout);
	wake(c)->timed = true;
	http_ready(c, LOOP_READ);
}

static void http_expire(struct connection *c)
{
	struct http *http = http_of(c);

	if (c->state == CONNECTION_IDLE) {
		connection_finish(c, false);
		return;
	}
	if (c->out != NULL || http->step == STEP_ANSWER) {
		if (still_takes(c))
			return;
		if (http->step == STEP_ANSWER)
			respond_log(c, http->status, http->sent);
		connection_close(c, OUTCOME_BROKEN);
		return;
	}
	if (http->step == STEP_VERIFY) {
		http_ready(c, 0);
		return;
	}
	c->out = buffer_take(&c->worker->buffers);
	respond_refuse(c, 408);
	http_ready(c, LOOP_WRITE);
}

static void http_close(struct connection *c)
{
	if (c->private != NULL)
		stream_close(c);
}

static void http_refuse(int fd)
{
	struct buffer out = {.begin = 0};
	struct answer_manner manner = {.promise = NULL};
	char unread[4096];

	answer_status(&out, &manner, 503, NULL);
	/* What was sent already is read, or closing would reset the answer. */
	for (int reads = 0; reads < 16 && recv(fd, unread, sizeof unread, 0) > 0; reads++)
		continue;
	send(fd, out.bytes, out.end, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
}

const struct service http_service = {
    .kind =
	{
	    .name = "http",
	    .summary = "serves a folder",
	    .scheme = "http",
	    .directives = http_directives,
	    .options_size = sizeof(struct http_options),
	    .argument = "root",
	    .check = http_check,
	    .link = http_link,
	    .prepare = http_prepare,
	    .release = http_release,
	    .lend = http_lend,
	    .borrow = http_borrow,
	    .logs = http_logs,
	},
    .start = http_start,
    .stop = http_stop,
    .reopened = http_reopened,
    .open = http_open,
    .ready = http_ready,
    .expire = http_expire,
    .refuse = http_refuse,
    .close = http_close,
};
