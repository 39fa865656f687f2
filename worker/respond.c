/*
 * From a request that was read to its answer: whose it is (hosts), whether it may (auth), what its
 * path means (redirect, alias), what is there (a file, a sibling, a listing, a fallback), and in
 * what way the client wants it (conditions, ranges).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "coding.h"
#include "condition.h"
#include "descriptor.h"
#include "http.h"
#include "path.h"
#include "scoreboard.h"

#define LISTINGS_MAX 32 /* that a service sends from files of their own, in each worker */

/* Where a path leads: a root, and what is left of the path in it. */
struct place {
	struct root *root;
	struct file_wanted wanted;
};

/* ---- the end of every answer ---- */

static int64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The value of a field that comes once; one that is repeated is none. */
static struct slice single_field(struct connection *c, const char *name)
{
	const struct request *r = &http_of(c)->request;
	struct slice value, another;
	uint32_t at = 0;

	if (!request_field(r, head_bytes(c), name, &at, &value) ||
	    request_field(r, head_bytes(c), name, &at, &another))
		return (struct slice){0, 0};
	return value;
}

static bool read_credentials(struct connection *c, struct credentials *credentials)
{
	struct slice value;

	if (!(http_of(c)->request.noted & NOTED_AUTHORIZATION))
		return false;
	value = single_field(c, "authorization");
	return credentials_read(credentials, head_bytes(c) + value.at, value.length);
}

void respond_log(struct connection *c, int status, uint64_t bytes)
{
	const struct http *http = http_of(c);
	const struct request *r = &http->request;
	const char *head = head_bytes(c);
	struct access_log *log = site_of(c)->access_log;
	struct credentials credentials;
	char peer[ADDRESS_TEXT];

	if (log == NULL)
		return;
	const struct access_entry entry = {
	    .peer = address_host(c->peer, peer, sizeof peer),
	    .user = http->known && read_credentials(c, &credentials) ? credentials.text : NULL,
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

static void done(struct connection *c, int status, uint64_t bytes)
{
	respond_log(c, status, bytes);
	respond_next(c);
}

/*
 * Whether this answer is the last, and how it says so. A worker that drains closes after the last
 * request that is here already, so that what was pipelined is answered too.
 */
static struct answer_manner manner_of(struct connection *c)
{
	struct http *http = http_of(c);
	const struct request *r = &http->request;
	const struct http_options *site = http->site;
	bool more = c->in != NULL && buffer_length(c->in) > r->head_length;

	/* A body may still come of a client that asked whether to send it, and need not wait to be
	 * told. */
	if (!r->keep_alive || r->chunked || options_of(c)->keepalive == 0 ||
	    (connection_draining(c) && !more))
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
	manner = manner_of(c);
	worker_count_request(c->worker);
	done(c, status, answer_status(c->out, &manner, status, NULL));
}

/*
 * Whether the output buffer has room for the head and the body of a kept file. What has gathered is
 * sent if it is in the way; small answers to pipelined requests so go out in few writes.
 */
static bool has_room(struct connection *c, const struct file *file)
{
	size_t need = FILE_HEAD_MAX + site_of(c)->fields_length + (size_t)file->size;

	if (file->body == NULL || buffer_room(c->out) >= need)
		return true;
	if (connection_flush(c) != TRANSFER_SOME)
		return false; /* what is wrong is found when the buffer is sent again */
	c->out = buffer_take(&c->worker->buffers);
	return true;
}

/*
 * What follows on a head: these bytes of a file, now if they are kept and there is room, else as
 * the output buffer empties. The file is closed, or the stream's.
 */
static void send_body(
    struct connection *c, int status, struct file *file, struct range range, bool head)
{
	if (head)
		range.length = 0;
	if (range.length == 0 ||
	    (file->body != NULL && range.length <= (uint64_t)buffer_room(c->out))) {
		if (range.length > 0)
			memcpy(c->out->bytes + c->out->end, file->body + range.first,
			    (size_t)range.length);
		c->out->end += (uint32_t)range.length;
		fd_close(&file->fd);
		done(c, status, range.length);
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

	if (page == NULL || file_find(&site->root, &wanted, c->worker->now, &file) != 0 ||
	    !has_room(c, &file))
		return false;
	n = snprintf(about, sizeof about, "%s%.*s", fields != NULL ? fields : "",
	    (int)file.fields->state_at, file.fields->text);
	answer_head(c->out, manner, status, about, (size_t)n);
	send_body(c, status, &file, (struct range){0, file.size}, manner->head);
	return true;
}

/* fields: of this status, each with its line end; NULL: those that it always has. */
static void fail_with(struct connection *c, int status, const char *fields)
{
	struct answer_manner manner = manner_of(c);

	if (fields == NULL)
		fields = answer_fields(status);
	worker_count_request(c->worker);
	if (!answer_with_page(c, &manner, status, fields))
		done(c, status, answer_status(c->out, &manner, status, fields));
}

static void fail(struct connection *c, int status)
{
	fail_with(c, status, NULL);
}

/* ---- redirects ---- */

static void redirect(struct connection *c, int status, const char *target, size_t length)
{
	struct answer_manner manner = manner_of(c);

	worker_count_request(c->worker);
	done(c, status, answer_redirect(c->out, &manner, status, target, length));
}

/* To the folder's own path, with its slash and the query. */
static void redirect_to_folder(struct connection *c, const char *path)
{
	const struct request *r = &http_of(c)->request;
	char target[ANSWER_TARGET_MAX];
	size_t n = 1, escaped;

	target[0] = '/';
	escaped = path_escape(target + n, sizeof target - n, path, strlen(path));
	n += escaped;
	/* A target that does not fit cannot be redirected to. */
	if (escaped == 0 || n + r->query.length + 3 > sizeof target) {
		fail(c, 414);
		return;
	}
	target[n++] = '/';
	if (r->query.length > 0) {
		target[n++] = '?';
		/* The parser let through only visible ASCII. */
		memcpy(target + n, head_bytes(c) + r->query.at, r->query.length);
		n += r->query.length;
	}
	redirect(c, 301, target, n);
}

/* Whether a `redirect` meant this path; then it was answered. */
static bool redirected(struct connection *c, const char *path, bool folder)
{
	const struct request *r = &http_of(c)->request;
	char target[ANSWER_TARGET_MAX];
	size_t length = 0;
	int status = rule_redirect(site_of(c)->redirects, path, folder, head_bytes(c) + r->query.at,
	    r->query.length, target, sizeof target, &length);

	if (status == 0)
		return false;
	if (status == 414)
		fail(c, 414);
	else
		redirect(c, status, target, length);
	return true;
}

/* ---- files ---- */

/*
 * Takes the sibling that the client likes best in the file's place: it must be there, and no older
 * than the file, or it would be of a state that the file is not in any more.
 */
static int prefer_sibling(struct connection *c, struct place *place, struct file *file)
{
	struct coding_wishes wishes;
	enum coding order[CODING_NONE];
	struct file sibling;
	struct slice value;
	uint32_t at = 0;
	int count;

	coding_init(&wishes);
	while (request_field(&http_of(c)->request, head_bytes(c), "accept-encoding", &at, &value))
		coding_read(&wishes, head_bytes(c) + value.at, value.length);
	count = coding_order(&wishes, order);
	for (int i = 0; i < count; i++) {
		place->wanted.coding = order[i];
		if (file_find(place->root, &place->wanted, c->worker->now, &sibling) != 0)
			continue;
		if (sibling.identity.modified.tv_sec >= file->identity.modified.tv_sec) {
			fd_close(&file->fd);
			*file = sibling;
			if (sibling.fields == &sibling.made)
				file->fields = &file->made;
			return 0;
		}
		fd_close(&sibling.fd);
		/* It may have driven the file out of the cache. */
		fd_close(&file->fd);
		place->wanted.coding = CODING_NONE;
		if (file_find(place->root, &place->wanted, c->worker->now, file) != 0)
			return 404;
	}
	place->wanted.coding = CODING_NONE;
	return 0;
}

/* Finds the file, or the sibling of it that is to be sent. Returns as file_find. */
static int find(struct connection *c, struct place *place, struct file *file)
{
	int status = file_find(place->root, &place->wanted, c->worker->now, file);

	if (status == 0 && site_of(c)->precompressed &&
	    (http_of(c)->request.noted & NOTED_ACCEPT_ENCODING))
		status = prefer_sibling(c, place, file);
	return status;
}

static void answer_whole(struct connection *c, struct file *file)
{
	struct answer_manner manner = manner_of(c);

	answer_head(c->out, &manner, 200, file->fields->text, file->fields->length);
	send_body(c, 200, file, (struct range){0, file->size}, manner.head);
}

static void answer_part(struct connection *c, struct file *file, struct range range)
{
	struct answer_manner manner = manner_of(c);
	const struct file_fields *fields = file->fields;
	char about[FILE_FIELDS_MAX + 160];
	int n = snprintf(about, sizeof about,
	    "Content-Length: %llu\r\nContent-Range: bytes %llu-%llu/%llu\r\n%.*s",
	    (unsigned long long)range.length, (unsigned long long)range.first,
	    (unsigned long long)(range.first + range.length - 1), (unsigned long long)file->size,
	    fields->length - fields->content_at, fields->text + fields->content_at);

	answer_head(c->out, &manner, 206, about, (size_t)n);
	send_body(c, 206, file, range, manner.head);
}

/* The file is open: its bytes are read part by part. */
static void answer_parts(
    struct connection *c, struct file *file, const struct range *ranges, int parts)
{
	struct answer_manner manner = manner_of(c);
	const struct file_fields *fields = file->fields;
	char about[FILE_FIELDS_MAX + 160], boundary[40];
	int n;

	http_of(c)->boundary = c->worker->boundaries++;
	n = snprintf(about, sizeof about,
	    "Content-Length: %llu\r\nContent-Type: multipart/byteranges; boundary=%s\r\n%.*s",
	    (unsigned long long)stream_parts_length(c, file, ranges, parts),
	    stream_boundary(c, boundary), fields->length - fields->state_at,
	    fields->text + fields->state_at);
	answer_head(c->out, &manner, 206, about, (size_t)n);
	stream_parts(c, file, parts);
}

/* Whether several parts may be asked for, for which an open file is needed. */
static bool may_want_parts(struct connection *c)
{
	struct slice value;

	if (!(http_of(c)->request.noted & NOTED_RANGE))
		return false;
	value = single_field(c, "range");
	return value.length > 0 && memchr(head_bytes(c) + value.at, ',', value.length) != NULL;
}

/* The parts that are asked for; RANGE_IGNORED: the whole file is meant. */
static int ranges_of(struct connection *c, const struct file *file,
    const struct validator *validator, struct range *ranges)
{
	const struct request *r = &http_of(c)->request;
	struct slice value;

	if (!(r->noted & NOTED_RANGE) || r->method != METHOD_GET ||
	    !condition_range(r, head_bytes(c), validator, time(NULL)))
		return RANGE_IGNORED;
	value = single_field(c, "range");
	return range_parse(head_bytes(c) + value.at, value.length, file->size, ranges);
}

static void answer_conditionally(struct connection *c, struct file *file)
{
	const struct request *r = &http_of(c)->request;
	const struct file_fields *fields = file->fields;
	const struct validator validator = {
	    .tag = fields->text + fields->tag_at,
	    .tag_length = fields->tag_length,
	    .modified = file->modified,
	};
	struct range ranges[RANGES_MAX];
	char beyond[64];
	int parts;

	switch (condition_judge(r, head_bytes(c), &validator, time(NULL))) {
	case CONDITION_NOT_MODIFIED: {
		struct answer_manner manner = manner_of(c);

		answer_head(c->out, &manner, 304, fields->text + fields->state_at,
		    (size_t)(fields->length - fields->state_at));
		worker_count_request(c->worker);
		fd_close(&file->fd);
		done(c, 304, 0);
		return;
	}
	case CONDITION_FAILED:
		fd_close(&file->fd);
		fail(c, 412);
		return;
	case CONDITION_HOLDS:
		break;
	}
	parts = ranges_of(c, file, &validator, ranges);
	if (parts == RANGE_NOT_SATISFIABLE) {
		snprintf(beyond, sizeof beyond, "Content-Range: bytes */%llu\r\n",
		    (unsigned long long)file->size);
		fd_close(&file->fd);
		fail_with(c, 416, beyond);
		return;
	}
	worker_count_request(c->worker);
	if (parts == RANGE_IGNORED)
		answer_whole(c, file);
	else if (parts == 1)
		answer_part(c, file, ranges[0]);
	else
		answer_parts(c, file, ranges, parts);
}

#define NOTED_CONDITIONS                                                                           \
	(NOTED_RANGE | NOTED_IF_MATCH | NOTED_IF_NONE_MATCH | NOTED_IF_UNMODIFIED_SINCE)

static void answer_with_file(struct connection *c, struct place *place, struct file *file)
{
	const struct request *r = &http_of(c)->request;

	if (!has_room(c, file)) {
		int status;

		/* Its client does not read; it is sent from a descriptor, as that becomes ready. */
		place->wanted.open = true;
		status = file_find(place->root, &place->wanted, c->worker->now, file);
		if (status != 0) {
			fail(c, status == FILE_FOLDER ? 403 : status);
			return;
		}
	}
	if ((r->noted & NOTED_CONDITIONS) || r->if_modified_since.length > 0) {
		answer_conditionally(c, file);
		return;
	}
	worker_count_request(c->worker);
	answer_whole(c, file);
}

/* ---- listings ---- */

/* A page that has no room in a buffer, in a file of its own. Returns false: that cannot be had. */
static bool keep_page(const char *page, size_t length, struct file *file)
{
	struct stat info;

	*file = (struct file){.fd = system_scratch_file(), .size = length, .type = "text/html"};
	for (size_t at = 0; file->fd != -1 && at < length;) {
		ssize_t put = write(file->fd, page + at, length - at);

		if (put <= 0)
			fd_close(&file->fd);
		else
			at += (size_t)put;
	}
	if (file->fd == -1 || fstat(file->fd, &info) == -1) {
		fd_close(&file->fd);
		return false;
	}
	file->identity = (struct identity){
	    .size = info.st_size, .modified = info.st_mtim, .changed = info.st_ctim};
	return true;
}

static void answer_with_listing(struct connection *c, const struct place *place, const char *path)
{
	struct http_options *site = site_of(c);
	bool head = http_of(c)->request.method == METHOD_HEAD;
	int folder = root_open_folder(place->root, place->wanted.path);
	struct answer_manner manner;
	const char *page = NULL;
	char about[128];
	size_t length;
	struct file file = {.fd = -1};
	int n;

	if (folder != -1)
		page = listing_make(site->listing_room, folder, path, site->dot_files, &length);
	if (page == NULL) {
		fail(c, errno == EMFILE || errno == ENFILE || errno == ENOMEM ? 503 : 403);
		return;
	}
	file.body = page;
	/* Room for the head is there; what the page needs beyond that it may not have. */
	if (!head && length + FILE_HEAD_MAX + site->fields_length > buffer_room(c->out) &&
	    (site->listings_open >= LISTINGS_MAX || !keep_page(page, length, &file))) {
		fail(c, 503);
		return;
	}
	manner = manner_of(c);
	n = snprintf(about, sizeof about,
	    "Content-Length: %zu\r\nContent-Type: text/html; charset=utf-8\r\n", length);
	answer_head(c->out, &manner, 200, about, (size_t)n);
	worker_count_request(c->worker);
	if (file.fd != -1) {
		site->listings_open++;
		http_of(c)->listed = true;
	}
	send_body(c, 200, &file, (struct range){0, length}, head);
}

/* ---- whose, and whether ---- */

/* Whether the client may. If not, it was answered, or waits for its turn. */
static bool admitted(struct connection *c, bool turn, int64_t *wait)
{
	struct http_options *site = site_of(c);
	struct credentials credentials;
	enum auth_result result = AUTH_NO;

	if (site->auth == NULL)
		return true;
	if (read_credentials(c, &credentials))
		result = auth_check(site->auth, &c->worker->auth_turns, &credentials, turn, wait);
	switch (result) {
	case AUTH_YES:
		http_of(c)->known = true;
		return true;
	case AUTH_LATER:
		http_of(c)->step = STEP_VERIFY;
		return false;
	case AUTH_BUSY:
		fail(c, 503);
		return false;
	case AUTH_NO:
		break;
	}
	fail_with(c, 401, site->challenge);
	return false;
}

/* Where a path leads. Returns false if a folder's own slash is missing. */
static bool locate(struct connection *c, const char *path, bool folder, struct place *place)
{
	struct http_options *site = site_of(c);
	int alias = -1;

	*place =
	    (struct place){&site->root, {.path = path, .folder = folder, .coding = CODING_NONE}};
	if (site->aliases != NULL)
		alias = rule_alias(site->aliases, path, folder, &place->wanted.path);
	if (alias >= 0)
		place->root = &site->alias_roots[alias];
	place->wanted.open = may_want_parts(c);
	return place->wanted.path != NULL;
}

static void answer_path(struct connection *c, const char *path, bool folder)
{
	struct http_options *site = site_of(c);
	struct place place;
	struct file file;
	int status = 301;

	if (site->redirects != NULL && redirected(c, path, folder))
		return;
	if (locate(c, path, folder, &place))
		status = find(c, &place, &file);
	if (status == 404 && site->fallback != NULL) {
		place = (struct place){&site->root,
		    {.path = site->fallback + 1, .coding = CODING_NONE, .open = may_want_parts(c)}};
		status = find(c, &place, &file);
		if (status == 301)
			status = 404;
	}
	if (status == 0)
		answer_with_file(c, &place, &file);
	else if (status == 301)
		redirect_to_folder(c, path);
	else if (status == FILE_FOLDER && site->listing_room != NULL)
		answer_with_listing(c, &place, path);
	else
		fail(c, status == FILE_FOLDER ? 403 : status);
}

static void answer_options(struct connection *c)
{
	struct answer_manner manner = manner_of(c);
	const char *allow = answer_fields(405);

	worker_count_request(c->worker);
	answer_head(c->out, &manner, 204, allow, strlen(allow));
	done(c, 204, 0);
}

void respond(struct connection *c, bool turn, int64_t *wait)
{
	struct http *http = http_of(c);
	const struct request *r = &http->request;
	struct http_options *options = options_of(c);
	char path[4096];
	bool folder;
	int status;

	if (options->timed && http->began == 0)
		http->began = clock_us();
	http->site = NULL;
	if (options->host_rows_count > 0)
		http->site = host_find(options->host_rows, options->host_rows_count,
		    head_bytes(c) + r->host.at, r->host.length);
	if (http->site == NULL)
		http->site = options;
	if (r->method == METHOD_OPTIONS) {
		answer_options(c); /* before auth: a preflight has no credentials */
	} else if (r->method == METHOD_OTHER) {
		fail(c, 501);
	} else if (r->method != METHOD_GET && r->method != METHOD_HEAD) {
		fail(c, 405);
	} else if (admitted(c, turn, wait)) {
		status = path_resolve_with(head_bytes(c) + r->path.at, r->path.length, path,
		    sizeof path, &folder, http->site->dot_files);
		if (status == 0)
			answer_path(c, path, folder);
		else
			fail(c, status);
	}
}
