/*
 * One client of control: what it sent and is not answered, what it was told and has not taken, and
 * how long it may take for either.
 *
 * Bytes are moved when the loop says so; requests are answered from client_run, which control_step
 * calls, so that nobody's requests are answered from within somebody else's.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "control_parts.h"
#include "descriptor.h"

#define READS_MAX 4 /* calls of recv(2) in one go */
#define REQUESTS_MAX 16 /* answered in one go */
#define TURN_MS 20 /* or this is over */
#define LOOK_MS 1000 /* how often one that waits and sends no more is looked at */

void client_set_state(struct control_client *client, enum client_state state, int64_t now)
{
	client->state = state;
	client->since = now;
}

void client_queue(struct control_client *client)
{
	struct control *control = client->control;

	if (client->busy)
		return;
	client->busy = true;
	client->next_busy = NULL;
	*control->busy_end = client;
	control->busy_end = &client->next_busy;
}

void client_wake(struct control_client *client)
{
	client_queue(client);
	/* It is writable, or will be: the loop ends its wait for that. */
	loop_watch(client->control->loop, &client->watch, client->watch.events | LOOP_WRITE);
}

static void unqueue(struct control_client *client)
{
	struct control *control = client->control;
	struct control_client **link = &control->busy;

	if (!client->busy)
		return;
	while (*link != client)
		link = &(*link)->next_busy;
	*link = client->next_busy;
	if (control->busy_end == &client->next_busy)
		control->busy_end = link;
	client->busy = false;
}

/* ---- what it is told ---- */

static void buffer_free(struct control_buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct control_buffer){.bytes = NULL};
}

static int buffer_add(struct control_buffer *buffer, const char *bytes, size_t length)
{
	if (length > buffer->room - buffer->length) {
		size_t room = buffer->room > 0 ? buffer->room * 2 : 512;
		char *more;

		while (room - buffer->length < length)
			room *= 2;
		more = realloc(buffer->bytes, room);
		if (more == NULL)
			return -1;
		buffer->bytes = more;
		buffer->room = room;
	}
	memcpy(buffer->bytes + buffer->length, bytes, length);
	buffer->length += length;
	return 0;
}

static size_t pending(const struct control_client *client)
{
	return client->out.length - client->sent;
}

void client_say(struct control_client *client, struct line_out *line)
{
	line_put_end(line);
	if (pending(client) == 0)
		client->out_since = clock_ms();
	if (!client->shut && buffer_add(&client->out, line->text, line->length) == -1)
		client->broken = true;
}

void client_tell(struct control_client *client, struct line_out *line)
{
	if (client->state != CLIENT_REPORTING) {
		client_say(client, line);
	} else {
		line_put_end(line);
		if (buffer_add(&client->late, line->text, line->length) == -1)
			client->broken = true;
	}
	/* With its last lease the time for another line begins. */
	client->since = clock_ms();
	client_wake(client);
}

void client_flush(struct control_client *client, int64_t now)
{
	while (pending(client) > 0 && !client->broken) {
		ssize_t n = send(client->watch.fd, client->out.bytes + client->sent,
		    pending(client), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0)
			client->sent += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		else if (errno != EINTR)
			client->broken = true;
	}
	if (pending(client) > 0)
		return;
	client->out_since = now;
	client->out.length = client->sent = 0;
	if (client->out.room > CONTROL_LINE_MAX)
		buffer_free(&client->out);
}

void client_answered(struct control_client *client, int64_t now)
{
	if (client->state == CLIENT_CLOSING)
		return;
	client_set_state(client, CLIENT_READING, now);
	if (client->late.length > 0 &&
	    buffer_add(&client->out, client->late.bytes, client->late.length) == -1)
		client->broken = true;
	buffer_free(&client->late);
}

/* The errors that end a connection; PROTOCOL. */
static bool closes(const char *code)
{
	static const char *const codes[] = {"too-long", "timeout", "token", "busy"};

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (strcmp(codes[i], code) == 0)
			return true;
	return false;
}

void client_error(struct control_client *client, const char *code, const char *format, ...)
{
	struct line_out line = {.length = 0};
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	line_put_word(&line, "", "error");
	line_put_word(&line, "", code);
	line_put_text(&line, text);
	client_say(client, &line);
	if (!closes(code))
		return;
	client_set_state(client, CLIENT_CLOSING, clock_ms());
	client->in_length = 0;
}

/* ---- what it says ---- */

/* Takes what has come. What comes after the end is read away. */
static void take(struct control_client *client, int64_t now)
{
	for (int i = 0; i < READS_MAX && !client->ended && !client->broken; i++) {
		bool closing = client->state == CLIENT_CLOSING;
		char *to = closing ? client->in : client->in + client->in_length;
		size_t room = CONTROL_LINE_MAX - (closing ? 0 : client->in_length);
		ssize_t n;

		if (room == 0)
			return;
		/* Without room for them, descriptors that are sent along are closed by the kernel
		 * and never ours. */
		n = recv(client->watch.fd, to, room, MSG_DONTWAIT);
		if (n == 0)
			client->ended = true;
		if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n == -1 && errno != EINTR)
			client->broken = true;
		if (n <= 0 || closing)
			continue;
		if (client->in_length == 0)
			client->line_since = now;
		client->in_length += (size_t)n;
		/* While it waits, what it sends is not looked at, but that it does is a sign of
		 * life. */
		if (client->in_length == CONTROL_LINE_MAX || memchr(to, '\n', (size_t)n) != NULL)
			client->heard = now;
	}
}

static void client_ready(struct watch *watch, unsigned events)
{
	struct control_client *client = container_of(watch, struct control_client, watch);
	int64_t now = clock_ms();

	if (events & LOOP_READ)
		take(client, now);
	/* Both directions are over, or an error waits: nothing that is said reaches it. */
	if (events & LOOP_HANGUP && client->ended)
		client->broken |= pending(client) > 0 || client->state == CLIENT_WAITING;
	client_queue(client);
}

/* The length of the whole line at the begin of text, its end included, or 0: there is none. */
static size_t whole_line(const char *text, size_t length)
{
	const char *end = length > 0 ? memchr(text, '\n', length) : NULL;

	return end != NULL ? (size_t)(end - text) + 1 : 0;
}

static bool may_go_on(const struct control_client *client)
{
	return client->state == CLIENT_READING && !client->broken &&
	    pending(client) < CONTROL_PENDING_MAX;
}

/* Answers the requests that are whole, as many as one turn has time for. */
static void answer(struct control_client *client, int64_t now)
{
	size_t at = 0, length = 0;
	int answered = 0;

	while (may_go_on(client) &&
	    (length = whole_line(client->in + at, client->in_length - at)) > 0) {
		/* However long one took, the others have their turn. */
		if (answered++ == REQUESTS_MAX || (answered > 1 && clock_ms() - now >= TURN_MS))
			break;
		request_handle(client, client->in + at, length - 1, now);
		at += length;
	}
	if (client->state == CLIENT_CLOSING)
		return;
	if (at > 0) {
		client->in_length -= at;
		memmove(client->in, client->in + at, client->in_length);
		client->line_since = now;
	}
	if (length == 0 && client->in_length == CONTROL_LINE_MAX && may_go_on(client))
		client_error(client, "too-long", "a line has at most %d bytes", CONTROL_LINE_MAX);
}

/* Whether there is something that answer can answer in the next turn. Ask it last: a report that is
 * over, or what was sent by now, may have made way for it, and nothing else will look. */
static bool has_more(const struct control_client *client)
{
	return may_go_on(client) &&
	    (client->in_length == CONTROL_LINE_MAX ||
		whole_line(client->in, client->in_length) > 0);
}

/* Tells more of a report. Returns whether there is more, and room for it. */
static bool tell(struct control_client *client, int64_t now)
{
	while (client->state == CLIENT_REPORTING && !client->broken &&
	    pending(client) < CONTROL_PENDING_MAX) {
		struct line_out line = {.length = 0};

		if (report_line(client->control, &client->report, &line, now))
			client_say(client, &line);
		else
			client_answered(client, now);
	}
	client_flush(client, now);
	return client->state == CLIENT_REPORTING && pending(client) == 0;
}

/* ---- deadlines ---- */

/* When the line that is waited for is to be there. */
static int64_t line_due(const struct control_client *client)
{
	if (client->state != CLIENT_READING || client->ended ||
	    whole_line(client->in, client->in_length) > 0)
		return CLOCK_NEVER;
	if (client->holder.count == 0)
		return client->since + CONTROL_SLOW_MS;
	return client->in_length > 0 ? client->line_since + CONTROL_SLOW_MS : CLOCK_NEVER;
}

static int64_t heartbeat_due(const struct control_client *client)
{
	bool promised = client->heartbeat > 0 && client->holder.count > 0;

	return promised ? client->heard + client->heartbeat : CLOCK_NEVER;
}

static int64_t taken_due(const struct control_client *client)
{
	return pending(client) > 0 ? client->out_since + CONTROL_SLOW_MS : CLOCK_NEVER;
}

static int64_t closing_due(const struct control_client *client)
{
	return client->state == CLIENT_CLOSING ? client->since + CONTROL_SLOW_MS : CLOCK_NEVER;
}

/* One that waits and sends no more is not watched, so its end has to be looked for. */
static bool is_looked_at(const struct control_client *client)
{
	return client->state == CLIENT_WAITING && client->ended;
}

static bool has_hung_up(const struct control_client *client)
{
	struct pollfd end = {.fd = client->watch.fd};

	return poll(&end, 1, 0) == 1 && end.revents & (POLLHUP | POLLERR | POLLNVAL);
}

/* Its heartbeat is missing: the leases end, and it is told so at their release. */
static void lose_leases(struct control_client *client, int64_t now)
{
	for (struct listener *at = client->holder.leases, *next; at != NULL; at = next) {
		next = at->next_lease;
		ports_close(client->control->ports, at, CLOSE_HEARTBEAT, -1, now);
	}
	client->heartbeat = 0;
	client->control->acted = true;
}

static void expire(struct control_client *client, int64_t now)
{
	if (now >= taken_due(client) || now >= closing_due(client) ||
	    (is_looked_at(client) && has_hung_up(client)))
		client->broken = true;
	else if (now >= line_due(client))
		client_error(
		    client, "timeout", "no whole line within %d s", CONTROL_SLOW_MS / 1000);
	if (!client->broken && now >= heartbeat_due(client))
		lose_leases(client, now);
}

static void client_fire(struct timer *timer)
{
	struct control_client *client = container_of(timer, struct control_client, timer);

	expire(client, clock_ms());
	client_queue(client);
}

/* Watches for what it may do next, and for how long it may take. Returns -1 when it cannot. */
static int settle(struct control_client *client, int64_t now)
{
	int64_t due = clock_earlier(line_due(client), heartbeat_due(client));
	bool room = client->state == CLIENT_CLOSING || client->in_length < CONTROL_LINE_MAX;
	unsigned events = 0;

	due = clock_earlier(due, clock_earlier(taken_due(client), closing_due(client)));
	if (is_looked_at(client))
		due = clock_earlier(due, now + LOOK_MS);
	if (due == CLOCK_NEVER)
		timer_clear(client->control->wheel, &client->timer);
	else
		timer_set(client->control->wheel, &client->timer, due);
	if (!client->ended && room)
		events |= LOOP_READ;
	if (pending(client) > 0)
		events |= LOOP_WRITE;
	return loop_watch(client->control->loop, &client->watch, events);
}

/* ---- its life ---- */

struct control_client *client_new(
    struct control_endpoint *endpoint, int fd, const struct owner *owner, bool trusted)
{
	struct control *control = endpoint->control;
	struct control_client *client = calloc(1, sizeof *client);
	int64_t now = clock_ms();

	if (client == NULL) {
		fd_close(&fd);
		return NULL;
	}
	client->control = control;
	client->endpoint = endpoint;
	client->watch = (struct watch){.fd = fd, .ready = client_ready};
	client->timer.fire = client_fire;
	client->owner = *owner;
	client->trusted = trusted;
	client->admitted = endpoint->token == NULL;
	client->holder.told = request_lease_told;
	client->waiter.told = request_close_told;
	client->since = client->out_since = client->heard = now;
	client->next = control->clients;
	client->link = &control->clients;
	if (client->next != NULL)
		client->next->link = &client->next;
	control->clients = client;
	control->clients_count++;
	endpoint->clients++;
	client_queue(client); /* it may have sent something already */
	return client;
}

void client_drop(struct control_client *client)
{
	struct control *control = client->control;

	unqueue(client);
	timer_clear(control->wheel, &client->timer);
	/* A worker that is being born may have a copy for a moment: closing ours alone would not
	 * take it out of the loop. */
	loop_watch(control->loop, &client->watch, 0);
	fd_close(&client->watch.fd);
	*client->link = client->next;
	if (client->next != NULL)
		client->next->link = client->link;
	control->clients_count--;
	if (--client->endpoint->clients == 0 && client->endpoint->leaving)
		endpoint_close(client->endpoint);
	buffer_free(&client->out);
	buffer_free(&client->late);
	free(client);
}

void client_gone(struct control_client *client, int64_t now)
{
	struct control *control = client->control;

	if (client->waiter.listener != NULL)
		ports_forget_waiter(&client->waiter);
	if (client->holder.count > 0) {
		ports_holder_gone(control->ports, &client->holder, CLOSE_HOLDER, now);
		control->acted = true;
	}
	client_drop(client);
}

/* All was answered and it sends no more, or a fatal error was told. Returns whether it is over. */
static bool is_over(struct control_client *client, int64_t now)
{
	if (client->state == CLIENT_READING && client->ended &&
	    whole_line(client->in, client->in_length) == 0) {
		if (client->in_length > 0)
			client_error(client, "syntax", "the last line has no end");
		client->in_length = 0;
		client_set_state(client, CLIENT_CLOSING, now);
		client_flush(client, now);
	}
	if (client->state != CLIENT_CLOSING || pending(client) > 0)
		return false;
	if (client->ended)
		return true;
	if (!client->shut)
		shutdown(client->watch.fd, SHUT_WR);
	client->shut = true;
	return false;
}

void client_run(struct control_client *client, int64_t now)
{
	bool more;

	unqueue(client);
	client_flush(client, now);
	answer(client, now);
	more = tell(client, now) || has_more(client);
	if (client->broken || is_over(client, now) || settle(client, now) == -1) {
		client_gone(client, now);
		return;
	}
	if (more)
		client_queue(client);
}
