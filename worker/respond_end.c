/*
 * The end of every answer: its manner, its body, its line in the access log; and answers that say
 * what is wrong.
 */
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "descriptor.h"
#include "http.h"
#include "scoreboard.h"

/* The value of a field that comes once; one that is repeated is none. */
struct slice respond_field(struct connection *c, const char *name)
{
	const struct request *r = &http_of(c)->request;
	struct slice value, another;
	uint32_t at = 0;

	if (!request_field(r, head_bytes(c), name, &at, &value) ||
	    request_field(r, head_bytes(c), name, &at, &another))
		return (struct slice){0, 0};
	return value;
}

bool respond_credentials(struct connection *c, struct credentials *credentials)
{
	struct slice value;

	if (!(http_of(c)->request.noted & NOTED_AUTHORIZATION))
		return false;
	value = respond_field(c, "authorization");
	return credentials_read(credentials, head_bytes(c) + value.at, value.length);
}

void respond_log(struct connection *c, int status, uint64_t bytes)
{
	const struct http *http = http_of(c);
	const struct request *r = &http->request;
	const char *head = head_bytes(c);
	struct access_log *log = site_of(c)->access_log;
	struct credentials credentials;
	union address_socket peer;
	char host[ADDRESS_TEXT];

	if (log == NULL)
		return;
	const struct access_entry entry = {
	    .peer = address_host(connection_peer(c, &peer), host, sizeof host),
	    .user = http->known && respond_credentials(c, &credentials) ? credentials.text : NULL,
	    .status = status,
	    .bytes = bytes,
	    .duration = http->began != 0 ? clock_us() - http->began : 0,
	    .line = {head + r->line.at, r->line.length},
	    .method = {head + r->method_text.at, r->method_text.length},
	    .target = {head + r->target.at, r->target.length},
	    .minor = r->head_length > 0 ? r->minor : -1,
	    .host = {head + r->host.at, r->host.length},
	    .referer = {head + r->referer.at, r->referer.length},
	    .agent = {head + r->user_agent.at, r->user_agent.length},
	};
	access_log_add(c->worker, log, &entry);
}

void respond_next(struct connection *c)
{
	struct http *http = http_of(c);

	if (c->in != NULL)
		c->in->begin += http->request.head_length;
	c->answered = true;
	http->step = STEP_HEAD;
	http->timed = false;
	http->known = false;
	http->site = NULL;
	http->began = 0;
	request_init(&http->request);
	connection_rest(c);
}

void respond_done(struct connection *c, int status, uint64_t bytes)
{
	respond_log(c, status, bytes);
	respond_next(c);
}

/*
 * Whether this answer is the last, and how it says so. A worker that drains closes after the last
 * request that is here already, so that what was pipelined is answered too.
 */
struct answer_manner respond_manner(struct connection *c)
{
	struct http *http = http_of(c);
	const struct request *r = &http->request;
	const struct http_options *site = http->site;
	bool more = c->in != NULL && buffer_length(c->in) > r->head_length;

	if (!r->keep_alive || options_of(c)->keepalive == 0 || (connection_draining(c) && !more))
		http->last = true;
	return (struct answer_manner){
	    .promise = http->last ? NULL : options_of(c)->promise,
	    .promise_length = options_of(c)->promise_length,
	    .fields = site != NULL ? site->fields : NULL,
	    .fields_length = site != NULL ? site->fields_length : 0,
	    .head = r->method == METHOD_HEAD,
	};
}

void respond_refuse(struct connection *c, int status)
{
	struct answer_manner manner;

	http_of(c)->last = true;
	http_of(c)->request.keep_alive = false;
	manner = respond_manner(c);
	worker_count_request(c->worker);
	respond_done(c, status, answer_status(c->out, &manner, status, NULL));
}

/* Small answers to pipelined requests so go out in few writes. */
void respond_make_room(struct connection *c, const struct file *file)
{
	size_t need = FILE_HEAD_MAX + site_of(c)->fields_length + (size_t)file->size;

	if (file->kept == 0 || file->size > FILE_JOINED_MAX || buffer_room(c->out) >= need)
		return;
	/* What is wrong is found when the buffer is sent again. */
	if (connection_flush(c) == TRANSFER_SOME)
		c->out = buffer_take(&c->worker->buffers);
}

/* Appends bytes of a kept file, for which there is room. */
static void add_kept(struct connection *c, const struct file *file, struct range range)
{
	struct iovec pieces[sizeof c->out->bytes / BLOCK_SIZE + 2];
	int count = chain_pieces(file->blocks, file->kept, range.first, range.length, pieces,
	    (int)(sizeof pieces / sizeof *pieces));

	for (int i = 0; i < count; i++)
		buffer_add(c->out, pieces[i].iov_base, pieces[i].iov_len);
}

/*
 * What follows on a head: these bytes of a file, now if they are kept and there is room, else as
 * the output buffer empties. The file is closed, or the stream's.
 */
void respond_body(
    struct connection *c, int status, struct file *file, struct range range, bool head)
{
	if (head)
		range.length = 0;
	if (range.length == 0 ||
	    (file->kept != 0 && range.length <= (uint64_t)buffer_room(c->out))) {
		if (range.length > 0)
			add_kept(c, file, range);
		fd_close(&file->fd);
		respond_done(c, status, range.length);
		return;
	}
	stream_file(c, status, file, range);
}

/* ---- errors ---- */

/* Answers with the page that is configured for a status. Returns false if there is none. */
static bool answer_with_page(
    struct connection *c, const struct answer_manner *manner, int status, const char *fields)
{
	struct http_options *site = http_of(c)->site;
	const char *page = site != NULL ? rule_error_page(site->error_pages, status) : NULL;
	const struct file_wanted wanted = {.path = page, .coding = CODING_NONE};
	char about[FILE_FIELDS_MAX + CHALLENGE_MAX];
	struct file file;
	int n;

	if (page == NULL || file_find(&site->root, &wanted, c->worker->now, &file) != 0)
		return false;
	respond_make_room(c, &file);
	n = snprintf(about, sizeof about, "%s%.*s", fields != NULL ? fields : "",
	    (int)file.fields->state_at, file.fields->text);
	answer_head(c->out, manner, status, about, (size_t)n);
	respond_body(c, status, &file, (struct range){0, file.size}, manner->head);
	return true;
}

/* fields: of this status, each with its line end; NULL: those that it always has. */
void respond_fail_with(struct connection *c, int status, const char *fields)
{
	struct answer_manner manner = respond_manner(c);

	if (fields == NULL)
		fields = answer_fields(status);
	worker_count_request(c->worker);
	if (!answer_with_page(c, &manner, status, fields))
		respond_done(c, status, answer_status(c->out, &manner, status, fields));
}

void respond_fail(struct connection *c, int status)
{
	respond_fail_with(c, status, NULL);
}
