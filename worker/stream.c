/*
 * Sends what does not fit into a buffer: a file, one part of it, or several as multipart/byteranges
 * (RFC 9110, 14.6). The parts are not kept while they are sent, but read again from the Range
 * field, which stays in the input buffer: a connection holds no table of them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "descriptor.h"
#include "http.h"

#define SEND_MAX                                                                                   \
	(512 * 1024) /* of a file in one go, so that one client does not hold the others           \
		      */
#define COPIED_MAX (4 * SEND_MAX) /* of a copy in one go, which costs about as much */
#define PIECE (256 * 1024) /* of a file, read and sent at once */
#define PIECES_MAX                                                                                 \
	(PIECE / BLOCK_SIZE + 2) /* with one that begins within a block, and the head              \
				  */

void stream_close(struct connection *c)
{
	struct http *http = http_of(c);
	int fd = http->file - 1;

	chain_give(http->blocks, http->kept);
	http->kept = 0;
	copy_give(http->copy);
	http->copy = NULL;
	if (http->file == 0)
		return;
	fd_close(&fd);
	http->file = 0;
	if (http->listed)
		http->site->listings_open--;
	http->listed = false;
}

void stream_file(struct connection *c, int status, const struct file *file, struct range range)
{
	struct http *http = http_of(c);
	int fd = file->fd;

	http->copy = file->copies != NULL
	    ? copy_hold(file->copies, &file->identity, range.length == file->size)
	    : NULL;
	if (http->copy != NULL && copy_is_whole(http->copy))
		fd_close(&fd);
	http->file = fd + 1;
	http->kept = file->kept;
	http->blocks = file->blocks;
	if (file->kept != 0)
		chain_hold(file->blocks, file->kept);
	http->status = (int16_t)status;
	http->at = (off_t)range.first;
	http->left = range.length;
	http->sent = 0;
	http->parts = http->part = 0;
	http->type = file->type;
	http->identity = file->identity;
	/* More than this is still on its way for long, and would be lost to a client's error. */
	if (range.length > BUFFER_SIZE)
		http->farewell = false;
	http->step = STEP_ANSWER;
}

/* ---- several parts ---- */

const char *stream_boundary(struct connection *c, char out[40])
{
	snprintf(out, 40, "%016llx%08x", (unsigned long long)c->worker->boundary,
	    (unsigned)http_of(c)->boundary);
	return out;
}

/* The head of part number `part`, which is that range; or what ends them all. */
static size_t part_head(struct connection *c, int part, const struct range *range, uint64_t size,
    const char *type, char out[PART_HEAD_MAX])
{
	char boundary[40], field[TYPE_MAX + 64];
	int n;

	stream_boundary(c, boundary);
	if (range == NULL)
		return (size_t)snprintf(out, PART_HEAD_MAX, "\r\n--%s--\r\n", boundary);
	file_type_field(&site_of(c)->manner, type, field, sizeof field);
	n = snprintf(out, PART_HEAD_MAX, "%s--%s\r\n%sContent-Range: bytes %llu-%llu/%llu\r\n\r\n",
	    part > 0 ? "\r\n" : "", boundary, field, (unsigned long long)range->first,
	    (unsigned long long)(range->first + range->length - 1), (unsigned long long)size);
	return (size_t)n;
}

uint64_t stream_parts_length(
    struct connection *c, const struct file *file, const struct range *ranges, int parts)
{
	char head[PART_HEAD_MAX];
	uint64_t length = part_head(c, parts, NULL, file->size, file->type, head);

	for (int i = 0; i < parts; i++)
		length +=
		    part_head(c, i, &ranges[i], file->size, file->type, head) + ranges[i].length;
	return length;
}

/* Writes what comes before part number `part` to the output buffer, and sets out to send it.
 * Returns false where the field cannot be read as before, which cannot be. */
static bool begin_part(struct connection *c, int part)
{
	struct http *http = http_of(c);
	const struct range *range = NULL;
	struct range ranges[RANGES_MAX];
	char head[PART_HEAD_MAX];
	struct slice field;
	uint32_t at = 0;
	size_t length;

	if (!request_field(&http->request, head_bytes(c), "range", &at, &field) ||
	    range_parse(head_bytes(c) + field.at, field.length, (uint64_t)http->identity.size,
		ranges) != http->parts)
		return false;
	if (part < http->parts)
		range = &ranges[part];
	length = part_head(c, part, range, (uint64_t)http->identity.size, http->type, head);
	if (c->out == NULL)
		c->out = buffer_take(&c->worker->buffers);
	memcpy(c->out->bytes + c->out->end, head, length);
	c->out->end += (uint32_t)length;
	http->sent += length;
	http->part = (int16_t)part;
	http->at = range != NULL ? (off_t)range->first : 0;
	http->left = range != NULL ? range->length : 0;
	return true;
}

void stream_parts(struct connection *c, const struct file *file, int parts)
{
	stream_file(c, 206, file, (struct range){0, 0});
	http_of(c)->farewell = false; /* they may be much together */
	http_of(c)->parts = (int16_t)parts;
	begin_part(c, 0);
}

/* ---- sending ---- */

/*
 * The next bytes of the file, at most PIECE: those that are kept, or read into room. Looks only
 * after that whether the file is still what it was, so that all that is ever sent is of one state
 * of it. Not with sendfile(2), which queues the file's own pages: a rewrite in place would change
 * what was sent already. What was read helps to fill the copy from which it can be used. Returns
 * how many pieces, or 0 when the file is not what it was.
 */
static int next_pieces(struct http *http, char *room, struct iovec *pieces, int max)
{
	size_t length = http->left < PIECE ? (size_t)http->left : PIECE;
	ssize_t got;

	if (http->kept != 0)
		return chain_pieces(
		    http->blocks, http->kept, (uint64_t)http->at, length, pieces, max);
	got = pread(http->file - 1, room, length, http->at);
	if (got <= 0 || !file_is_same(http->file - 1, &http->identity))
		return 0;
	if (http->copy != NULL)
		copy_add(http->copy, room, (size_t)got, (uint64_t)http->at);
	pieces[0] = (struct iovec){.iov_base = room, .iov_len = (size_t)got};
	return 1;
}

/* The head that is still in the output buffer, or else the next bytes of the whole copy. Returns as
 * sendmsg(2). */
static ssize_t send_copied(struct connection *c)
{
	const struct http *http = http_of(c);

	if (c->out != NULL)
		return send(c->watch.fd, c->out->bytes + c->out->begin, buffer_length(c->out),
		    MSG_NOSIGNAL);
	return system_send_file(c->watch.fd, http->copy->fd, http->at,
	    http->left < COPIED_MAX ? (size_t)http->left : COPIED_MAX);
}

/*
 * Sends them, after the head that is still in the output buffer. Returns how much was sent, head
 * and all, 0 when the file is not what it was, or -1 with errno of sendmsg(2).
 */
static ssize_t send_piece(struct connection *c)
{
	char room[PIECE];
	struct iovec pieces[PIECES_MAX] = {{.iov_len = 0}};
	struct msghdr message = {.msg_iov = pieces};
	int count = next_pieces(http_of(c), room, pieces + 1, PIECES_MAX - 1);

	if (count == 0)
		return 0;
	if (c->out != NULL) {
		pieces[0].iov_base = c->out->bytes + c->out->begin;
		pieces[0].iov_len = buffer_length(c->out);
	}
	message.msg_iovlen = (size_t)count + 1;
	return sendmsg(c->watch.fd, &message, MSG_NOSIGNAL);
}

/* Bytes went out: first those of the head, then those of the file. */
static void count_sent(struct connection *c, size_t sent)
{
	struct http *http = http_of(c);

	if (c->out != NULL) {
		size_t head = buffer_length(c->out) < sent ? buffer_length(c->out) : sent;

		c->out->begin += (uint32_t)head;
		sent -= head;
		if (buffer_length(c->out) == 0)
			buffer_give(&c->worker->buffers, &c->out);
	}
	http->at += (off_t)sent;
	http->left -= sent;
	http->sent += sent;
}

static bool end_broken(struct connection *c, enum outcome outcome)
{
	respond_log(c, http_of(c)->status, http_of(c)->sent);
	connection_close(c, outcome);
	return false;
}

/* Sends the rest of the file or of the part. Returns false when the connection waits or has ended.
 */
static bool send_rest(struct connection *c, uint64_t *turn)
{
	struct http *http = http_of(c);

	while (http->left > 0) {
		bool copied = http->copy != NULL && copy_is_whole(http->copy);
		ssize_t sent;

		if (*turn >= SEND_MAX)
			return http_wait_for_room(c);
		sent = copied ? send_copied(c) : send_piece(c);
		if (sent > 0) {
			count_sent(c, (size_t)sent);
			*turn += (uint64_t)sent / (copied ? COPIED_MAX / SEND_MAX : 1);
		} else if (sent == 0) {
			/* What comes before it is owed: answers, and a head that tells how much is
			 * missing. */
			return http_flush(c) && end_broken(c, OUTCOME_BROKEN);
		} else if (errno == EAGAIN) {
			return http_wait_for_room(c);
		} else if (errno != EINTR) {
			return end_broken(c, OUTCOME_LEFT);
		}
	}
	return true;
}

bool stream_step(struct connection *c, uint64_t *turn)
{
	struct http *http = http_of(c);

	for (;;) {
		if (!send_rest(c, turn))
			return false;
		if (http->part >= http->parts)
			break;
		if (!begin_part(c, http->part + 1))
			return end_broken(c, OUTCOME_BROKEN);
	}
	if (!http_flush(c))
		return false;
	stream_close(c);
	respond_log(c, http->status, http->sent);
	respond_next(c);
	return true;
}
