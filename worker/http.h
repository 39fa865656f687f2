/*
 * What the files of the http service share with each other and with nobody else: http.c reads
 * requests and keeps the time; respond.c decides what a request gets, with respond_file.c for files
 * and respond_end.c for the end of every answer; stream.c sends what does not fit into a buffer;
 * http_options.c knows the configuration, and http_prepare.c makes what it asks for.
 */
#ifndef LASTCALL_HTTP_H
#define LASTCALL_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access.h"
#include "answer.h"
#include "auth.h"
#include "body.h"
#include "file.h"
#include "hosts.h"
#include "listing.h"
#include "range.h"
#include "request.h"
#include "rules.h"
#include "service.h"
#include "type.h"
#include "worker.h"

/* Of the head of an answer with a file or a part of one, without the fields of the service. */
#define FILE_HEAD_MAX (FILE_FIELDS_MAX + 768)
#define PART_HEAD_MAX 512
#define CHALLENGE_MAX 320 /* of the field that asks for credentials, with a realm of 200 bytes */

/* What an http service was told. Names of the first part are those of its directives. */
struct http_options {
	char *root_path;
	char *index, *fallback, *charset, *types_path;
	char *health; /* a path of no file, or NULL */
	bool listing, precompressed, dot_files;
	int64_t links; /* enum system_links */
	char ***headers, ***redirects, ***aliases, ***error_pages, ***hosts;
	char *auth_file, *auth_realm;
	int64_t keepalive, header_timeout, send_timeout; /* ms */
	int64_t max_body, max_header; /* bytes */
	int64_t min_body_rate; /* bytes a second */
	int64_t file_cache, file_copies; /* bytes, of each root and in each worker */
	char *access_log_path;
	int64_t access_log_format;

	/* What prepare() makes; the rest of the configuration, from link(), outlives it. */
	const struct config *config;
	struct root root;
	struct root *alias_roots; /* for each row of aliases */
	struct types *types; /* the usual ones, shared, or those of types_path */
	struct auth *auth; /* NULL: everybody may */
	struct host_row *host_rows; /* whose value is another http_options */
	size_t host_rows_count;
	int access_fd; /* 1 + descriptor, so that zero is none */

	/* What start() makes, in each worker. */
	bool started;
	struct file_manner manner;
	struct access_log *access_log; /* NULL: off */
	struct listing *listing_room; /* NULL: off */
	size_t listings_open; /* that are being sent from files of their own */
	bool timed; /* an access log wants to know how long answers took */
	char promise[80]; /* the fields that keep a connection */
	size_t promise_length;
	char *fields; /* those of `header`; NULL: none */
	size_t fields_length;
	char *challenge; /* the field that asks for credentials; NULL: everybody may */
	size_t room; /* that a buffer must have for any answer of this service or its hosts */
};

enum http_step { STEP_HEAD, STEP_BODY, STEP_VERIFY, STEP_ANSWER };

struct http {
	struct request request;
	struct http_options *site; /* that the request is for; NULL: none was found yet */
	enum http_step step;
	bool last; /* the connection ends after this answer */
	bool farewell; /* and the client sends nothing more: it has said so */
	bool drained; /* HEAD: it was read ahead, to the end of what there was */
	bool
	    timed; /* the deadline that is set is that of the head or the body that is being read */
	bool known; /* the credentials were a user's: the access log names it */
	bool listed; /* ANSWER: the file is a listing, of which there is a limit */
	int16_t status; /* ANSWER: of the answer under way */
	int16_t parts, part; /* ANSWER: of a multipart answer, and which is being sent */
	int untaken; /* bytes that the client had not taken when its send-timeout began; -1: unknown
		      */
	int file; /* ANSWER: what is sent, 1 + descriptor so that zero is none */
	block_chain kept; /* or what is sent from the blocks of a root, and held there */
	struct blocks *blocks;
	struct copy *copy; /* or the copy of the file, held; NULL: it has none */
	uint32_t boundary; /* the number of this multipart answer */
	const char *type; /* of the file, for its parts */
	off_t at;
	struct body body; /* BODY: where its reader stands */
	int64_t body_began; /* BODY: when it was first waited for, in ms of the worker's clock */
	uint64_t body_received; /* BODY: bytes since then, framing and all */
	uint64_t left; /* ANSWER: of the file or the part */
	uint64_t sent; /* ANSWER: of the body, for the access log */
	int64_t asked, turn; /* VERIFY: ms, when it came, and when it is its turn */
	int64_t began; /* us: when the request was whole; only where options say timed */
	struct identity identity; /* of the file when it was opened */
};
_Static_assert(
    sizeof(struct http) <= CONNECTION_PRIVATE, "CONNECTION_PRIVATE is too small for http");

/* There is none while the connection is idle. */
static inline struct http *http_of(struct connection *c)
{
	return (struct http *)(void *)c->private;
}

/* The service of the listener: what is not a matter of a host is told by it. */
static inline struct http_options *options_of(const struct connection *c)
{
	return c->options;
}

/* The service that the request is for, as far as that is known. */
static inline struct http_options *site_of(struct connection *c)
{
	return http_of(c)->site != NULL ? http_of(c)->site : options_of(c);
}

/* The head of the request, from its first byte. */
static inline const char *head_bytes(const struct connection *c)
{
	return c->in != NULL ? c->in->bytes + c->in->begin : "";
}

/* ---- http_options.c ---- */

extern const struct directive http_directives[];
const char *http_check(const void *options, const char **directive);
const char *http_link(void *options, const struct config *config, const char **directive);

/* The service that a row of `host` names, or NULL. */
struct service_config *http_host_service(const struct config *config, char **row);

/* ---- http_prepare.c ---- */

int http_prepare(void *options, const struct account *workers, char *why, size_t size);
void http_release(void *options);
int http_lend(const void *options, int *fds, int max);
int http_borrow(void *options, const int *fds, int count);
int http_start(struct worker *worker, void *options, char *why, size_t size);
void http_stop(void *options);
int http_logs(const void *options, struct service_log *logs, int max);
void http_reopened(void *options);

/* ---- http.c ---- */

/* Waits until the client has taken some of an answer, for as long as send-timeout says. Returns
 * false: the connection waits. */
bool http_wait_for_room(struct connection *c);

/* Sends what has gathered. Returns whether the connection goes on now. */
bool http_flush(struct connection *c);

/* ---- respond.c ---- */

/*
 * The head of a request is whole and its body read away: finds out what is asked for and answers.
 * There is room for it in the output buffer. The step is then HEAD: it was answered; ANSWER: its
 * body is to be streamed; or VERIFY: its turn comes in *wait ms, and this is to be called again.
 * waited: for how long it has waited for its turn by then, in ms; -1: it has just come.
 */
void respond(struct connection *c, int64_t waited, int64_t *wait);

/* ---- respond_end.c ---- */

/* Whether this answer is the last, and how it says so; the fields of the service, if that is known.
 */
struct answer_manner respond_manner(struct connection *c);

/* The answer is complete: the log is told, and the next request is due. */
void respond_done(struct connection *c, int status, uint64_t bytes);

/* The first half of that: the answer is as complete as it will ever be. */
void respond_log(struct connection *c, int status, uint64_t bytes);

/* The second half: the head of this request was answered, and its bytes are done with. */
void respond_next(struct connection *c);

/* Answers with an error and its page. fields: of this status, each with its line end; NULL: those
 * that it always has. */
void respond_fail(struct connection *c, int status);
void respond_fail_with(struct connection *c, int status, const char *fields);

/* Refuses what cannot be understood: where the next request would begin is unknown, so the
 * connection ends. */
void respond_refuse(struct connection *c, int status);

/*
 * Makes room in the output buffer for the head and the body of a small file that is kept: what has
 * gathered is sent if it is in the way. Where that does not help the file is sent after its head.
 */
void respond_make_room(struct connection *c, const struct file *file);

/*
 * What follows on a head: these bytes of a file, now if they are kept and there is room, else as
 * the output buffer empties. head: none of them. The file is closed, or the stream's.
 */
void respond_body(
    struct connection *c, int status, struct file *file, struct range range, bool head);

/* The value of a field that comes once, from the head; one that is repeated is none. */
struct slice respond_field(struct connection *c, const char *name);

/* What Authorization says. Returns false: nothing. */
bool respond_credentials(struct connection *c, struct credentials *credentials);

/* ---- respond_file.c ---- */

/* Where a path leads: a root, and what is left of the path in it. */
struct place {
	struct root *root;
	struct file_wanted wanted;
};

/* Whether several parts may be asked for, for which an open file is needed. */
bool respond_wants_parts(struct connection *c);

/* Finds the file, or the sibling of it that is to be sent. Returns as file_find. */
int respond_find(struct connection *c, struct place *place, struct file *file);

/* Answers with a file that was found. */
void respond_file(struct connection *c, struct file *file);

/* Answers with the listing of the folder of that place; path is what it was asked for by. */
void respond_listing(struct connection *c, const struct place *place, const char *path);

/* ---- stream.c ---- */

/* Begins to send length bytes of an open file, or parts of it. The head is in the output buffer. */
void stream_file(struct connection *c, int status, const struct file *file, struct range range);

/*
 * The same for several parts. Writes the first part's own head to the output buffer. The length of
 * the whole body is what stream_parts_length has said.
 */
void stream_parts(struct connection *c, const struct file *file, int parts);
uint64_t stream_parts_length(
    struct connection *c, const struct file *file, const struct range *ranges, int parts);

/* The boundary of this connection's multipart answer. Returns out. */
const char *stream_boundary(struct connection *c, char out[40]);

/* Sends on. turn: what this connection was sent in this turn of the loop. Returns false when it
 * waits or has ended. */
bool stream_step(struct connection *c, uint64_t *turn);

/* Closes what is being sent, if anything is. */
void stream_close(struct connection *c);

#endif
