/*
 * Answers with files: the one or its sibling that the client likes best, all of it or parts, if its
 * conditions hold; and with listings of folders.
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

#define LISTINGS_MAX 32 /* that a service sends from files of their own, in each worker */

/* Whether a sibling was changed before its file. One with whole seconds may come from a tool that
 * keeps no more: it is as old as its file in the same second. */
static bool is_older(const struct timespec *sibling, const struct timespec *file)
{
	if (sibling->tv_sec != file->tv_sec)
		return sibling->tv_sec < file->tv_sec;
	return sibling->tv_nsec != 0 && sibling->tv_nsec < file->tv_nsec;
}

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
		if (!is_older(&sibling.identity.modified, &file->identity.modified)) {
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
int respond_find(struct connection *c, struct place *place, struct file *file)
{
	int status;

	place->wanted.moment = c->worker->reads;
	status = file_find(place->root, &place->wanted, c->worker->now, file);
	/* Several parts are of the file itself: a multipart body has no place to say that its parts
	 * are coded. */
	if (status == 0 && site_of(c)->precompressed && !place->wanted.open &&
	    (http_of(c)->request.noted & NOTED_ACCEPT_ENCODING))
		status = prefer_sibling(c, place, file);
	return status;
}

static void answer_whole(struct connection *c, struct file *file)
{
	struct answer_manner manner = respond_manner(c);

	answer_head(c->out, &manner, 200, file->fields->text, file->fields->length);
	respond_body(c, 200, file, (struct range){0, file->size}, manner.head);
}

static void answer_part(struct connection *c, struct file *file, struct range range)
{
	struct answer_manner manner = respond_manner(c);
	const struct file_fields *fields = file->fields;
	char about[FILE_FIELDS_MAX + 160];
	int n = snprintf(about, sizeof about,
	    "Content-Length: %llu\r\nContent-Range: bytes %llu-%llu/%llu\r\n%.*s",
	    (unsigned long long)range.length, (unsigned long long)range.first,
	    (unsigned long long)(range.first + range.length - 1), (unsigned long long)file->size,
	    fields->length - fields->content_at, fields->text + fields->content_at);

	answer_head(c->out, &manner, 206, about, (size_t)n);
	respond_body(c, 206, file, range, manner.head);
}

/* The file is open: its bytes are read part by part. */
static void answer_parts(
    struct connection *c, struct file *file, const struct range *ranges, int parts)
{
	struct answer_manner manner = respond_manner(c);
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
bool respond_wants_parts(struct connection *c)
{
	struct slice value;

	if (!(http_of(c)->request.noted & NOTED_RANGE))
		return false;
	value = respond_field(c, "range");
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
	value = respond_field(c, "range");
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
		struct answer_manner manner = respond_manner(c);

		answer_head(c->out, &manner, 304, fields->text + fields->state_at,
		    (size_t)(fields->length - fields->state_at));
		worker_count_request(c->worker);
		fd_close(&file->fd);
		respond_done(c, 304, 0);
		return;
	}
	case CONDITION_FAILED:
		fd_close(&file->fd);
		respond_fail(c, 412);
		return;
	case CONDITION_HOLDS:
		break;
	}
	parts = ranges_of(c, file, &validator, ranges);
	if (parts == RANGE_NOT_SATISFIABLE) {
		snprintf(beyond, sizeof beyond, "Content-Range: bytes */%llu\r\n",
		    (unsigned long long)file->size);
		fd_close(&file->fd);
		respond_fail_with(c, 416, beyond);
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

void respond_file(struct connection *c, struct file *file)
{
	const struct request *r = &http_of(c)->request;

	respond_make_room(c, file);
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
	file->identity = identity_make(&info);
	return true;
}

void respond_listing(struct connection *c, const struct place *place, const char *path)
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
		respond_fail(c, errno == EMFILE || errno == ENFILE || errno == ENOMEM ? 503 : 403);
		return;
	}
	/* Room for the head is there; what the page needs beyond that it may not have. */
	if (!head && length + FILE_HEAD_MAX + site->fields_length > buffer_room(c->out) &&
	    (site->listings_open >= LISTINGS_MAX || !keep_page(page, length, &file))) {
		respond_fail(c, 503);
		return;
	}
	manner = respond_manner(c);
	n = snprintf(about, sizeof about,
	    "Content-Length: %zu\r\nContent-Type: text/html; charset=utf-8\r\n", length);
	answer_head(c->out, &manner, 200, about, (size_t)n);
	worker_count_request(c->worker);
	if (file.fd == -1) {
		buffer_add(c->out, page, head ? 0 : length);
		respond_done(c, 200, head ? 0 : length);
		return;
	}
	site->listings_open++;
	http_of(c)->listed = true;
	respond_body(c, 200, &file, (struct range){0, length}, head);
}
