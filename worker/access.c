/* The access log; see access.h. */
#include "access.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "date.h"
#include "log.h"
#include "scoreboard.h"
#include "worker.h"

void access_log_opened(struct access_log *log)
{
	struct stat info;

	/* What cannot be asked is written to as if it could be a pipe. */
	log->piped = fstat(log->fd, &info) == -1 || !S_ISREG(info.st_mode);
	log->torn = false;
}

/* How much to write in one go: all, or the whole lines that a pipe takes without blocking. */
static size_t piece(const struct access_log *log, size_t at)
{
	size_t length = log->length - at;
	const char *from = log->lines + at;

	if (!log->piped || length <= LOG_PIPE_MAX)
		return length;
	for (length = LOG_PIPE_MAX; length > 0; length--) {
		if (from[length - 1] == '\n')
			break;
	}
	return length > 0 ? length : LOG_PIPE_MAX;
}

/* Writes what was gathered. Returns whether all of it got through. */
static bool put_lines(struct access_log *log)
{
	if (log->torn)
		log->torn = log_put(log->fd, "\n", 1) != 1;
	for (size_t at = 0; at < log->length;) {
		size_t length = piece(log, at);
		ssize_t put = log_put(log->fd, log->lines + at, length);

		if (put > 0)
			log->torn = log->lines[at + (size_t)put - 1] != '\n';
		if (put != (ssize_t)length)
			return false;
		at += length;
	}
	return true;
}

static void flush(struct worker *worker, struct access_log *log)
{
	if (log->length == 0)
		return;
	if (put_lines(log)) {
		if (log->dropped > 0)
			log_write(worker->log, LOG_WARNING,
			    "worker %u: %llu access log lines were dropped", worker->from->slot,
			    (unsigned long long)log->dropped);
		log->dropped = 0;
	} else {
		if (log->dropped == 0)
			log_write(worker->log, LOG_WARNING,
			    "worker %u: the access log cannot be written; going on without",
			    worker->from->slot);
		/* Some of them may have got through; the count is an upper bound. */
		log->dropped += log->lines_held;
		slot_add(&worker->self->log_dropped, log->lines_held);
	}
	log->length = 0;
	log->lines_held = 0;
}

static size_t add_text(char *out, size_t size, const char *text)
{
	size_t length = strlen(text);

	if (length >= size)
		length = size ? size - 1 : 0;
	memcpy(out, text, length);
	return length;
}

/* A quoted field of the client's, or "-". */
static size_t add_quoted(char *out, size_t size, struct access_text text)
{
	size_t n = add_text(out, size, " \"");

	if (text.length == 0)
		n += add_text(out + n, size - n, "-");
	else
		n += log_escape(out + n, size - n - 1, text.bytes, text.length);
	return n + add_text(out + n, size - n, "\"");
}

/* A name that stands between spaces, so it can have none; or "-". */
static size_t add_user(char *out, size_t size, const char *user)
{
	size_t n, length;

	if (user == NULL || *user == '\0')
		return add_text(out, size, "-");
	length = n = log_escape(out, size, user, strlen(user));
	for (size_t i = 0; i < length; i++) {
		if (out[i] == ' ')
			out[i] = '_';
	}
	return n;
}

static size_t add_line(const struct access_entry *entry, bool combined, char *out, size_t room)
{
	char date[DATE_LOG_LENGTH + 1], numbers[64];
	size_t n;

	date_format_log(time(NULL), date);
	date[DATE_LOG_LENGTH] = '\0';
	n = (size_t)snprintf(out, room, "%s - ", entry->peer);
	n += add_user(out + n, room / 4 - n, entry->user);
	n += (size_t)snprintf(out + n, room - n, " [%s]", date);
	/* Each of the client's parts leaves room for what follows. */
	n += add_quoted(out + n, room / 2 - n, entry->line);
	snprintf(
	    numbers, sizeof numbers, " %d %llu", entry->status, (unsigned long long)entry->bytes);
	n += add_text(out + n, room - n, numbers);
	if (combined) {
		n += add_quoted(out + n, room * 3 / 4 - n, entry->referer);
		n += add_quoted(out + n, room - 2 - n, entry->agent);
	}
	return n;
}

/* A member with the client's bytes as a string: each that is not printable ASCII is the character
 * of that number, so that the object is JSON whatever they were and no byte is lost. */
static size_t add_member(char *out, size_t size, const char *name, struct access_text text)
{
	size_t n = (size_t)snprintf(out, size, ",\"%s\":\"", name);

	for (size_t i = 0; i < text.length && n + 8 < size; i++) {
		unsigned char byte = (unsigned char)text.bytes[i];

		if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\')
			out[n++] = (char)byte;
		else
			n += (size_t)snprintf(out + n, size - n, "\\u%04x", byte);
	}
	out[n++] = '"';
	return n;
}

static size_t add_json(const struct access_entry *entry, char *out, size_t room)
{
	const struct access_text user = {entry->user, entry->user ? strlen(entry->user) : 0};
	const char *protocol = entry->minor < 0 ? "" : entry->minor ? "HTTP/1.1" : "HTTP/1.0";
	struct timespec now;
	struct tm moment;
	char when[32] = "";
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &moment) != NULL)
		strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &moment);
	n = (size_t)snprintf(out, room,
	    "{\"time\":\"%s.%03ldZ\",\"remote\":\"%s\",\"status\":%d,\"bytes\":%llu,"
	    "\"duration\":%lld.%06lld,\"protocol\":\"%s\"",
	    when, now.tv_nsec / 1000000, entry->peer, entry->status,
	    (unsigned long long)entry->bytes, (long long)(entry->duration / 1000000),
	    (long long)(entry->duration % 1000000), protocol);
	n += add_member(out + n, room / 8, "method", entry->method);
	n += add_member(out + n, room / 8, "user", user);
	n += add_member(out + n, room / 8, "host", entry->host);
	n += add_member(out + n, room / 4, "target", entry->target);
	n += add_member(out + n, room / 8, "referer", entry->referer);
	n += add_member(out + n, room / 8, "agent", entry->agent);
	out[n++] = '}';
	return n;
}

void access_log_add(struct worker *worker, struct access_log *log, const struct access_entry *entry)
{
	char *out;

	if (log->fd < 0)
		return;
	if (log->length == 0) {
		log->next = worker->unwritten;
		worker->unwritten = log;
	} else if (sizeof log->lines - log->length < ACCESS_LINE_MAX) {
		flush(worker, log); /* it stays on the list, which does no harm */
	}
	out = log->lines + log->length;
	if (log->format == ACCESS_JSON)
		log->length += add_json(entry, out, ACCESS_LINE_MAX);
	else
		log->length +=
		    add_line(entry, log->format == ACCESS_COMBINED, out, ACCESS_LINE_MAX);
	log->lines[log->length++] = '\n';
	log->lines_held++;
}

void access_log_flush_all(struct worker *worker)
{
	struct access_log *log = worker->unwritten;

	worker->unwritten = NULL;
	for (; log != NULL; log = log->next)
		flush(worker, log);
}
