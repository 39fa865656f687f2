/*
 * From a request that was read to its answer: whose it is (hosts), whether it may (auth), what its
 * path means (redirect, alias), and what is there: a file, a folder, a fallback, nothing.
 */
#include <string.h>

#include "clock.h"
#include "http.h"
#include "path.h"

/* ---- redirects ---- */

static void redirect(struct connection *c, int status, const char *target, size_t length)
{
	struct answer_manner manner = respond_manner(c);

	worker_count_request(c->worker);
	respond_done(c, status, answer_redirect(c->out, &manner, status, target, length));
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
		respond_fail(c, 414);
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
		respond_fail(c, 414);
	else
		redirect(c, status, target, length);
	return true;
}

/* ---- whose, and whether ---- */

/* Whether the client may. If not, it was answered, or waits for its turn. */
static bool admitted(struct connection *c, int64_t waited, int64_t *wait)
{
	struct http_options *site = site_of(c);
	struct credentials credentials;
	enum auth_result result = AUTH_NO;

	if (site->auth == NULL)
		return true;
	if (respond_credentials(c, &credentials))
		result = auth_check(site->auth, &c->worker->auth_turns, &credentials, waited, wait);
	switch (result) {
	case AUTH_YES:
		http_of(c)->known = true;
		return true;
	case AUTH_LATER:
		http_of(c)->step = STEP_VERIFY;
		return false;
	case AUTH_BUSY:
		respond_fail(c, 503);
		return false;
	case AUTH_NO:
		break;
	}
	respond_fail_with(c, 401, site->challenge);
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
	place->wanted.open = respond_wants_parts(c);
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
		status = respond_find(c, &place, &file);
	if (status == 404 && site->fallback != NULL) {
		place = (struct place){&site->root,
		    {.path = site->fallback + 1,
			.coding = CODING_NONE,
			.open = respond_wants_parts(c)}};
		status = respond_find(c, &place, &file);
		if (status == 301)
			status = 404;
	}
	if (status == 0)
		respond_file(c, &file);
	else if (status == 301)
		redirect_to_folder(c, path);
	else if (status == FILE_FOLDER && site->listing_room != NULL)
		respond_listing(c, &place, path);
	else
		respond_fail(c, status == FILE_FOLDER ? 403 : status);
}

static void answer_options(struct connection *c)
{
	struct answer_manner manner = respond_manner(c);
	const char *allow = answer_fields(405);

	worker_count_request(c->worker);
	answer_head(c->out, &manner, 204, allow, strlen(allow));
	respond_done(c, 204, 0);
}

/* Whether this is the path that tells whether to send us clients; of the listener, for it is about
 * that, whatever host a check names. */
static bool asks_for_health(struct connection *c)
{
	const struct request *r = &http_of(c)->request;
	const char *health = options_of(c)->health;

	return health != NULL && strlen(health) == r->path.length &&
	    memcmp(head_bytes(c) + r->path.at, health, r->path.length) == 0;
}

/* Not logged: it is asked for every second. */
static void answer_health(struct connection *c)
{
	struct answer_manner manner = respond_manner(c);

	answer_state(c->out, &manner, connection_port_stays(c));
	worker_count_request(c->worker);
	respond_next(c);
}

void respond(struct connection *c, int64_t waited, int64_t *wait)
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
		respond_fail(c, 501);
	} else if (r->method != METHOD_GET && r->method != METHOD_HEAD) {
		respond_fail(c, 405);
	} else if (asks_for_health(c)) {
		answer_health(c);
	} else if (admitted(c, waited, wait)) {
		status = path_resolve_with(head_bytes(c) + r->path.at, r->path.length, path,
		    sizeof path, &folder, http->site->dot_files);
		/* What is malformed ends the connection, here as in the head. */
		if (status == 400 || status == 414)
			http->request.keep_alive = false;
		if (status == 0)
			answer_path(c, path, folder);
		else
			respond_fail(c, status);
	}
}
