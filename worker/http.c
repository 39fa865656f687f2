/*
 * http: serves a folder. Reads heads with the pure parser, finds files, and writes answers; one
 * read and one write for a small file.
 *
 *   HEAD ──whole head──► BODY ──body read away──► ANSWER ──sent──► HEAD, or the end
 *
 *   HEAD    waits for a request. Answers to pipelined requests gather in the output buffer and are
 *           sent before waiting.
 *   BODY    reads away a request's body, of which there is a limit.
 *   ANSWER  sends a file that does not fit into the buffer. The head stays in the input buffer for
 *           the access log.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "access.h"
#include "answer.h"
#include "body.h"
#include "date.h"
#include "descriptor.h"
#include "file.h"
#include "path.h"
#include "request.h"
#include "scoreboard.h"
#include "service.h"
#include "worker.h"

#define KEEPALIVE_EXTRA_MS 1000 /* kept longer than promised, for what is on its way */
#define SEND_MAX                                                                                   \
	(512 * 1024) /* of a file in one go, so that one client does not hold the others           \
		      */
#define HEADER_MAX 12288 /* leaves room in a buffer to read a body behind the head */
#define PIECE (128 * 1024) /* of a file, read and sent at once */
#define STEPS_MAX                                                                                  \
	256 /* of one connection in one go, after which it reads no more before the others had     \
	       theirs */
#define BODY_STEPS 16 /* what a buffer of a body counts for: to read it takes longer */

/* What the output buffer must have room for before a request is answered: a page, or the head of a
 * file with all of it. */
#define FILE_HEAD_MAX 512
#define ANSWER_MAX (FILE_HEAD_MAX + FILE_CACHED_MAX)
_Static_assert(ANSWER_MAX >= ANSWER_HEAD_MAX && ANSWER_MAX <= sizeof((struct buffer *)0)->bytes,
    "an answer has no room");

struct http_options {
	char *root_path;
	char *index;
	char *health; /* a path of no file, or NULL */
	int64_t keepalive, header_timeout, send_timeout; /* ms */
	int64_t max_body, max_header; /* bytes */
	int64_t min_body_rate; /* bytes a second */
	char *access_log_path;
	int64_t access_log_format;
	/* What prepare() and start() open. */
	struct root root;
	int access_fd; /* 1 + descriptor, so that zero is none */
	struct access_log *access_log; /* NULL: off */
	char promise[80]; /* the fields that keep a connection */
	size_t promise_length;
};

enum http_step { STEP_HEAD, STEP_BODY, STEP_ANSWER };

struct http {
	struct request request;
	enum http_step step;
	bool last; /* the connection ends after this answer */
	bool
	    timed; /* the deadline that is set is that of the head or the body that is being read */
	struct body body; /* BODY: where its reader stands */
	int64_t body_began; /* BODY: when it was first waited for, in ms of the worker's clock */
	uint64_t body_received; /* BODY: bytes since then, framing and all */
	int file; /* ANSWER: what is sent, 1 + descriptor so that zero is none */
	off_t at;
	uint64_t left, size;
	struct identity identity; /* of the file when it was opened */
};
_Static_assert(
    sizeof(struct http) <= CONNECTION_PRIVATE, "CONNECTION_PRIVATE is too small for http");

static const char *const access_formats[] = {"common", "combined", NULL};

#define DAY_MS INT64_C(86400000)
#define AT(member) .offset = offsetof(struct http_options, member)

static const struct directive http_directives[] = {
    {.name = "root", .type = DIRECTIVE_PATH, AT(root_path)},
    {.name = "index", .type = DIRECTIVE_STRING, AT(index), .initial = "index.html"},
    {.name = "health", .type = DIRECTIVE_STRING, AT(health)},
    {.name = "keepalive",
	.type = DIRECTIVE_DURATION,
	AT(keepalive),
	.min = 0,
	.max = DAY_MS,
	.initial = "5s"},
    {.name = "header-timeout",
	.type = DIRECTIVE_DURATION,
	AT(header_timeout),
	.min = 10,
	.max = DAY_MS,
	.initial = "10s"},
    {.name = "send-timeout",
	.type = DIRECTIVE_DURATION,
	AT(send_timeout),
	.min = 10,
	.max = DAY_MS,
	.initial = "30s"},
    {.name = "max-body",
	.type = DIRECTIVE_SIZE,
	AT(max_body),
	.min = 0,
	.max = INT64_C(1) << 40,
	.initial = "64k"},
    {.name = "max-header",
	.type = DIRECTIVE_SIZE,
	AT(max_header),
	.min = 256,
	.max = HEADER_MAX,
	.initial = "8k"},
    {.name = "min-body-rate",
	.type = DIRECTIVE_SIZE,
	AT(min_body_rate),
	.min = 1,
	.max = INT64_C(1) << 30,
	.initial = "1k"},
    {.name = "access-log", .type = DIRECTIVE_PATH, AT(access_log_path)},
    {.name = "access-log-format",
	.type = DIRECTIVE_CHOICE,
	AT(access_log_format),
	.choices = access_formats,
	.initial = "common"},
    {.name = NULL},
};

static struct http *http_of(struct connection *c)
{
	return (struct http *)(void *)c->private;
}

static struct http_options *options_of(const struct connection *c)
{
	return c->options;
}

/* ---- the service in the master ---- */

/* Whether a request can ask for it in these very bytes. */
static bool is_plain_path(const char *path)
{
	if (*path != '/')
		return false;
	for (; *path != '\0'; path++) {
		if (*path <= ' ' || *path > '~' || strchr("?#%\"\\", *path) != NULL)
			return false;
	}
	return true;
}

static const char *http_check(const void *options, const char **directive)
{
	const struct http_options *http = options;

	*directive = "root";
	if (http->root_path == NULL)
		return "an http service needs a root, the folder that it serves";
	*directive = "index";
	if (http->index[0] == '\0' || strchr(http->index, '/') != NULL)
		return "index is the name of a file, without a slash";
	*directive = "health";
	if (http->health != NULL && !is_plain_path(http->health))
		return "health is a path as in a request, such as /healthz, without \"?\" and "
		       "\"%\"";
	return NULL;
}

static void http_release(void *options)
{
	struct http_options *http = options;
	int fd = http->access_fd - 1;

	root_close(&http->root);
	if (http->access_fd > 0)
		fd_close(&fd);
	http->access_fd = 0;
}

static int http_prepare(void *options, char *why, size_t size)
{
	struct http_options *http = options;
	int fd;

	if (root_open(&http->root, http->root_path) == -1) {
		snprintf(why, size, "root %s: %s", http->root_path, strerror(errno));
		return -1;
	}
	if (http->access_log_path == NULL)
		return 0;
	fd = log_open(http->access_log_path);
	if (fd == -1) {
		snprintf(
		    why, size, "access-log %s: %s", http->access_log_path, log_open_error(errno));
		return -1;
	}
	http->access_fd = fd + 1;
	return 0;
}

static int http_lend(const void *options, int *fds, int max)
{
	const struct http_options *http = options;
	int count = 0;

	if (max < 2)
		return 0;
	fds[count++] = http->root.fd;
	if (http->access_fd > 0)
		fds[count++] = http->access_fd - 1;
	return count;
}

static int http_borrow(void *options, const int *fds, int count)
{
	struct http_options *http = options;

	if (count != 1 + (http->access_log_path != NULL) ||
	    root_borrow(&http->root, http->root_path, fds[0]) == -1)
		return -1;
	if (count == 2)
		http->access_fd = fds[1] + 1;
	return 0;
}

static int http_logs(const void *options, struct service_log *logs, int max)
{
	const struct http_options *http = options;

	if (http->access_log_path == NULL || max < 1)
		return 0;
	logs[0] = (struct service_log){http->access_log_path, http->access_fd - 1};
	return 1;
}

/* ---- the service in a worker ---- */

static int http_start(struct worker *worker, void *options, char *why, size_t size)
{
	struct http_options *http = options;

	(void)worker;
	http->promise_length = answer_promise(http->promise, sizeof http->promise, http->keepalive);
	if (root_start(&http->root) == -1)
		goto fail;
	if (faccessat(http->root.fd, ".", X_OK, AT_EACCESS) == -1) {
		snprintf(why, size, "root %s: %s for the user that workers run as", http->root_path,
		    strerror(errno));
		return -1;
	}
	if (http->access_fd == 0)
		return 0;
	http->access_log = calloc(1, sizeof *http->access_log);
	if (http->access_log == NULL)
		goto fail;
	http->access_log->fd = http->access_fd - 1;
	http->access_log->format = (enum access_format)http->access_log_format;
	access_log_opened(http->access_log);
	return 0;
fail:
	snprintf(why, size, "%s", strerror(errno));
	return -1;
}

static void http_stop(void *options)
{
	struct http_options *http = options;

	root_stop(&http->root);
	free(http->access_log);
	http->access_log = NULL;
}

static void http_reopened(void *options)
{
	struct http_options *http = options;

	if (http->access_log != NULL)
		access_log_opened(http->access_log);
}

/* ---- answering ---- */

static const char *head_bytes(const struct connection *c)
{
	return c->in != NULL ? c->in->bytes + c->in->begin : "";
}

static void log_access(struct connection *c, int status, uint64_t bytes)
{
	const struct request *r = &http_of(c)->request;
	const char *head = head_bytes(c);
	char host[ADDRESS_TEXT];
	struct access_entry entry;

	if (options_of(c)->access_log == NULL)
		return;
	entry = (struct access_entry){
	    .host = address_host(c->peer, host, sizeof host),
	    .status = status,
	    .bytes = bytes,
	    .line = head + r->line.at,
	    .line_length = r->line.length,
	    .referer = head + r->referer.at,
	    .referer_length = r->referer.length,
	    .agent = head + r->user_agent.at,
	    .agent_length = r->user_agent.length,
	};
	access_log_add(c->worker, options_of(c)->access_log, &entry);
}

/* The head of this request was answered: its bytes are done with. */
static void next_request(struct connection *c)
{
	struct http *http = http_of(c);

	if (c->in != NULL)
		c->in->begin += http->request.head_length;
	c->answered = true;
	http->step = STEP_HEAD;
	http->timed = false;
	request_init(&http->request);
	connection_rest(c);
}

/*
 * Whether this answer is the last, and how it says so. A worker that drains closes after the last
 * request that is here already, so that what was pipelined is answered too.
 */
static struct answer_manner manner_of(struct connection *c)
{
	struct http *http = http_of(c);
	const struct request *r = &http->request;
	bool more = c->in != NULL && buffer_length(c->in) > r->head_length;

	if (!r->keep_alive || options_of(c)->keepalive == 0 || (connection_draining(c) && !more))
		http->last = true;
	return (struct answer_manner){
	    .promise = http->last ? NULL : options_of(c)->promise,
	    .promise_length = options_of(c)->promise_length,
	    .head = r->method == METHOD_HEAD,
	};
}

static void answer_with_status(struct connection *c, int status)
{
	struct answer_manner manner = manner_of(c);
	size_t bytes = answer_status(c->out, &manner, status);

	worker_count_request(c->worker);
	log_access(c, status, bytes);
	next_request(c);
}

/* Refuses what cannot be understood: where the next request would begin is unknown, so the
 * connection ends. */
static void refuse_request(struct connection *c, int status)
{
	http_of(c)->last = true;
	http_of(c)->request.keep_alive = false;
	answer_with_status(c, status);
}

static bool not_modified(const struct connection *c, const struct request *r, time_t modified)
{
	time_t since;

	return r->if_modified_since.length > 0 && !r->has_none_match &&
	    date_parse(head_bytes(c) + r->if_modified_since.at, r->if_modified_since.length,
		time(NULL), &since) == 0 &&
	    modified <= since;
}

static void answer_with_file(struct connection *c, struct file *file)
{
	struct http *http = http_of(c);
	struct answer_manner manner = manner_of(c);

	worker_count_request(c->worker);
	if (not_modified(c, &http->request, file->identity.modified.tv_sec)) {
		answer_not_modified(c->out, &manner, file->identity.modified.tv_sec);
		log_access(c, 304, 0);
		next_request(c);
		fd_close(&file->fd);
		return;
	}
	answer_file(c->out, &manner, file->fields, file->fields_length);
	if (manner.head || file->size == 0 ||
	    (file->body != NULL && file->size <= buffer_room(c->out))) {
		uint64_t bytes = manner.head ? 0 : file->size;

		memcpy(c->out->bytes + c->out->end, file->body != NULL ? file->body : "",
		    (size_t)bytes);
		c->out->end += (uint32_t)bytes;
		log_access(c, 200, bytes);
		next_request(c);
		fd_close(&file->fd);
		return;
	}
	http->file = file->fd + 1;
	http->at = 0;
	http->left = http->size = file->size;
	http->identity = file->identity;
	http->step = STEP_ANSWER;
}

static bool asks_for_health(struct connection *c)
{
	const struct request *r = &http_of(c)->request;
	const char *health = options_of(c)->health;

	return health != NULL && strlen(health) == r->path.length &&
	    memcmp(head_bytes(c) + r->path.at, health, r->path.length) == 0;
}

/* Whoever asks does so again and again: no line in the access log. */
static void answer_health(struct connection *c)
{
	struct answer_manner manner = manner_of(c);

	answer_state(c->out, &manner, connection_port_stays(c));
	worker_count_request(c->worker);
	next_request(c);
}

/* The head is whole and its body read away: what is asked for? */
static void answer_request(struct connection *c)
{
	struct http *http = http_of(c);
	const struct request *r = &http->request;
	struct http_options *options = options_of(c);
	struct file file;
	char path[4096];
	bool folder;
	int status;

	if (r->method == METHOD_OTHER) {
		answer_with_status(c, 501);
		return;
	}
	if (r->method == METHOD_OPTIONS) {
		/* What may be asked is the same of the server, of every file, and of none. */
		answer_with_status(c, 204);
		return;
	}
	if (r->method != METHOD_GET && r->method != METHOD_HEAD) {
		answer_with_status(c, 405);
		return;
	}
	if (asks_for_health(c)) {
		answer_health(c);
		return;
	}
	status =
	    path_resolve(head_bytes(c) + r->path.at, r->path.length, path, sizeof path, &folder);
	if (status == 400 || status == 414) {
		refuse_request(c, status);
		return;
	}
	if (status == 0)
		status =
		    file_find(&options->root, path, folder, options->index, c->worker->now, &file);
	if (status == 0) {
		answer_with_file(c, &file);
	} else if (status == 301) {
		struct answer_manner manner = manner_of(c);
		size_t bytes;

		status = answer_redirect(
		    c->out, &manner, path, head_bytes(c) + r->query.at, r->query.length, &bytes);
		worker_count_request(c->worker);
		log_access(c, status, bytes);
		next_request(c);
	} else {
		answer_with_status(c, status);
	}
}

/* ---- the steps; each returns false when the connection waits or has ended ---- */

/* Sends what has gathered. Returns whether the connection goes on now. */
static bool flush(struct connection *c)
{
	enum transfer sent;

	if (c->out == NULL)
		return true;
	sent = connection_flush(c);
	if (sent == TRANSFER_SOME)
		return true;
	connection_set_state(c, CONNECTION_BUSY);
	if (sent == TRANSFER_GONE) {
		connection_close(c, OUTCOME_LEFT);
		return false;
	}
	connection_deadline(c, options_of(c)->send_timeout);
	http_of(c)->timed = false;
	connection_want(c, LOOP_WRITE);
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
	}
	connection_want(c, LOOP_READ);
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

static void begin_answer(struct connection *c)
{
	struct http *http = http_of(c);
	const struct request *r = &http->request;

	if (r->content_length > (uint64_t)options_of(c)->max_body) {
		refuse_request(c, 413);
	} else if (r->expects_continue && (r->chunked || r->content_length > 0)) {
		/*
		 * A client that waits to be told to go on is told the answer instead. Its body may
		 * come all the same, for it need not wait, so this is the last one.
		 */
		http->request.keep_alive = false;
		answer_request(c);
	} else if (r->chunked || r->content_length > 0) {
		if (r->chunked)
			body_init_chunked(&http->body, (uint64_t)options_of(c)->max_body);
		else
			body_init_length(&http->body, r->content_length);
		http->step = STEP_BODY;
		http->timed = false; /* the body has a deadline of its own */
	} else {
		answer_request(c);
	}
}

/* Room for a whole answer in the output buffer; what has gathered is sent first if it is in the
 * way. */
static bool make_room(struct connection *c)
{
	if (c->out != NULL && buffer_room(c->out) < ANSWER_MAX && !flush(c))
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
		return flush(c) && read_more(c, drained, false);
	if (!make_room(c))
		return false;
	/* No further than the limit, so that it does not matter in which pieces a head comes. */
	result = request_parse(&http->request, head_bytes(c), length < most ? length : most);
	if (result == REQUEST_MORE && length < most)
		return flush(c) && read_more(c, drained, true);
	if (result == REQUEST_BAD)
		refuse_request(c, http->request.status);
	else if (result == REQUEST_MORE)
		refuse_request(c, http->request.in_line ? 414 : 431);
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
		return flush(c) && read_more(c, drained, true);
	}
	memmove(bytes, bytes + used, here - used);
	c->in->end -= (uint32_t)used;
	/* Whoever comes again, when there is room, finds the reader where it ended. */
	if (!make_room(c))
		return false;
	if (result == BODY_BAD)
		refuse_request(c, http->body.status);
	else
		answer_request(c);
	return true;
}

/*
 * Sends a piece of a file: reads it, and looks only then whether the file is still what it was, so
 * that all that is ever sent is of one state of it. Not with sendfile(2), which queues the file's
 * own pages: a rewrite in place would change what was sent already. Returns how much was sent, 0
 * when the file is not what it was, or -1 with errno of send(2).
 */
static ssize_t send_piece(struct connection *c)
{
	struct http *http = http_of(c);
	char bytes[PIECE];
	size_t length = http->left < sizeof bytes ? (size_t)http->left : sizeof bytes;
	ssize_t got = pread(http->file - 1, bytes, length, http->at);

	if (got <= 0 || !file_is_same(http->file - 1, &http->identity))
		return 0;
	return send(c->watch.fd, bytes, (size_t)got, MSG_NOSIGNAL);
}

static void close_file(struct connection *c)
{
	int fd = http_of(c)->file - 1;

	fd_close(&fd);
	http_of(c)->file = 0;
}

/* turn: what this connection was sent in this turn of the loop. */
static bool step_answer(struct connection *c, uint64_t *turn)
{
	struct http *http = http_of(c);

	if (!flush(c))
		return false;
	while (http->left > 0) {
		ssize_t sent = *turn < SEND_MAX ? send_piece(c) : -2;

		if (sent > 0) {
			http->at += sent;
			http->left -= (uint64_t)sent;
			*turn += (uint64_t)sent;
			continue;
		}
		if (sent == -1 && errno == EINTR)
			continue;
		if (sent == -2 || (sent == -1 && errno == EAGAIN)) {
			connection_set_state(c, CONNECTION_BUSY);
			connection_deadline(c, options_of(c)->send_timeout);
			connection_want(c, LOOP_WRITE);
			return false;
		}
		log_access(c, 200, http->size - http->left);
		connection_close(c, sent == 0 ? OUTCOME_BROKEN : OUTCOME_LEFT);
		return false;
	}
	close_file(c);
	log_access(c, 200, http->size);
	next_request(c);
	return true;
}

static void http_ready(struct connection *c, unsigned events)
{
	struct http *http = http_of(c);
	bool drained = false, on = true;
	uint64_t turn = 0;

	(void)events;
	for (int steps = 0; on; steps++) {
		/* A client that sends faster than it is answered: what it has sent is still there
		 * in the next turn. */
		if (steps >= STEPS_MAX)
			drained = true;
		if (http->last && http->step == STEP_HEAD) {
			if (flush(c))
				connection_finish(c, false);
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
		case STEP_ANSWER:
			on = step_answer(c, &turn);
			break;
		}
	}
}

static void http_open(struct connection *c)
{
	request_init(&http_of(c)->request);
	connection_deadline(c, options_of(c)->header_timeout);
	http_of(c)->timed = true;
	http_ready(c, LOOP_READ);
}

static void http_expire(struct connection *c)
{
	struct http *http = http_of(c);

	if (c->out != NULL || http->step == STEP_ANSWER) {
		if (http->step == STEP_ANSWER)
			log_access(c, 200, http->size - http->left);
		connection_close(c, OUTCOME_BROKEN);
		return;
	}
	if (c->state == CONNECTION_IDLE) {
		connection_finish(c, false);
		return;
	}
	c->out = buffer_take(&c->worker->buffers);
	refuse_request(c, 408);
	http_ready(c, LOOP_WRITE);
}

static void http_close(struct connection *c)
{
	if (http_of(c)->file > 0)
		close_file(c);
}

static void http_refuse(int fd)
{
	struct buffer out = {.begin = 0};
	struct answer_manner manner = {.promise = NULL};
	char unread[4096];

	answer_status(&out, &manner, 503);
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
