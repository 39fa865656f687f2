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
static size_t add_quoted(char *out, size_t size, const char *bytes, size_t length)
{
	size_t n = add_text(out, size, " \"");

	if (bytes == NULL || length == 0)
		n += add_text(out + n, size - n, "-");
	else
		n += log_escape(out + n, size - n - 1, bytes, length);
	return n + add_text(out + n, size - n, "\"");
}

void access_log_add(struct worker *worker, struct access_log *log, const struct access_entry *entry)
{
	char date[DATE_LOG_LENGTH + 1], numbers[64];
	char *out;
	size_t n, room = ACCESS_LINE_MAX;

	if (log->fd < 0)
		return;
	if (log->length == 0) {
		log->next = worker->unwritten;
		worker->unwritten = log;
	} else if (sizeof log->lines - log->length < ACCESS_LINE_MAX) {
		flush(worker, log); /* it stays on the list, which does no harm */
	}
	out = log->lines + log->length;
	date_format_log(time(NULL), date);
	date[DATE_LOG_LENGTH] = '\0';
	n = (size_t)snprintf(out, room, "%s - - [%s]", entry->host, date);
	/* Each of the client's parts leaves room for what follows. */
	n += add_quoted(out + n, room / 2 - n, entry->line, entry->line_length);
	snprintf(
	    numbers, sizeof numbers, " %d %llu", entry->status, (unsigned long long)entry->bytes);
	n += add_text(out + n, room - n, numbers);
	if (log->format == ACCESS_COMBINED) {
		n += add_quoted(out + n, room * 3 / 4 - n, entry->referer, entry->referer_length);
		n += add_quoted(out + n, room - 2 - n, entry->agent, entry->agent_length);
	}
	out[n++] = '\n';
	log->length += n;
	log->lines_held++;
}

void access_log_flush_all(struct worker *worker)
{
	struct access_log *log = worker->unwritten;

	worker->unwritten = NULL;
	for (; log != NULL; log = log->next)
		flush(worker, log);
}
