/* What an upgrade carries over of control: endpoints, their clients and what these wait for; see
 * carry_parts.h. A token goes along as well: the one in force may not be what its file has now. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "carry_parts.h"
#include "clock.h"
#include "control_parts.h"
#include "descriptor.h"
#include "path_socket.h"
#include "reload.h"

static const struct carry_field control_fields[] = {
    CARRY_FIELD(CARRY_NUMBER, struct control, endpoints_made),
    CARRY_FIELD(CARRY_NUMBER, struct control, refused),
    CARRY_FIELD(CARRY_NUMBER, struct control, started),
    CARRY_END,
};

#define OF_ENDPOINT(type, member) CARRY_FIELD(type, struct control_endpoint, member)

static const struct carry_field endpoint_fields[] = {
    OF_ENDPOINT(CARRY_NUMBER, number),
    OF_ENDPOINT(CARRY_FD, watch.fd),
    OF_ENDPOINT(CARRY_TEXT, text),
    OF_ENDPOINT(CARRY_NUMBER, leaving),
    OF_ENDPOINT(CARRY_NUMBER, last_port),
    CARRY_END,
};

static const struct carry_field path_fields[] = {
    CARRY_FIELD(CARRY_BYTES, struct path_socket, at),
    CARRY_FIELD(CARRY_NUMBER, struct path_socket, device),
    CARRY_FIELD(CARRY_NUMBER, struct path_socket, inode),
    CARRY_END,
};

#define OF_CLIENT(type, member) CARRY_FIELD(type, struct control_client, member)

static const struct carry_field client_fields[] = {
    OF_CLIENT(CARRY_NUMBER, state),
    OF_CLIENT(CARRY_NUMBER, revoked),
    OF_CLIENT(CARRY_NUMBER, admitted),
    OF_CLIENT(CARRY_NUMBER, ended),
    OF_CLIENT(CARRY_NUMBER, broken),
    OF_CLIENT(CARRY_NUMBER, shut),
    OF_CLIENT(CARRY_NUMBER, since),
    OF_CLIENT(CARRY_NUMBER, line_since),
    OF_CLIENT(CARRY_NUMBER, out_since),
    OF_CLIENT(CARRY_NUMBER, heartbeat),
    OF_CLIENT(CARRY_NUMBER, heard),
    OF_CLIENT(CARRY_NUMBER, waiter.to_the_end),
    OF_CLIENT(CARRY_NUMBER, waits_for_reload),
    OF_CLIENT(CARRY_NUMBER, waits_for_upgrade),
    OF_CLIENT(CARRY_NUMBER, waits_for_reopen),
    OF_CLIENT(CARRY_NUMBER, report.part),
    OF_CLIENT(CARRY_NUMBER, report.at),
    CARRY_END,
};

static const struct carry_field owner_fields[] = {
    CARRY_FIELD(CARRY_NUMBER, struct owner, known),
    CARRY_FIELD(CARRY_NUMBER, struct owner, uid),
    CARRY_FIELD(CARRY_NUMBER, struct owner, pid),
    CARRY_FIELD(CARRY_TEXT, struct owner, peer),
    CARRY_END,
};

/* ---- leaving ---- */

/* Which configuration an endpoint has its rules from: its number and the place there. None: it is
 * the default one. */
static void leave_rules(
    struct carry_out *out, const struct parts *parts, const struct control_config *rules)
{
	const struct config *config;

	for (uint64_t number = 0; (config = config_numbered(parts, number)) != NULL; number++) {
		uint64_t place = 0;

		for (const struct control_config *at = config->controls; at != NULL;
		     at = at->next, place++) {
			if (at != rules)
				continue;
			carry_put_number(out, "config", number);
			carry_put_number(out, "place", place);
			return;
		}
	}
}

static void leave_endpoint(
    struct carry_out *out, const struct parts *parts, const struct control_endpoint *endpoint)
{
	carry_line(out, "endpoint");
	carry_put(out, endpoint_fields, endpoint);
	leave_rules(out, parts, endpoint->config);
	carry_put_number(out, "unix", endpoint->path != NULL);
	if (endpoint->path != NULL)
		carry_put(out, path_fields, endpoint->path);
	/* Of one that takes nobody any more it is of no use. */
	if (endpoint->token != NULL && !endpoint->leaving)
		carry_put_bytes(out, "token", endpoint->token->bytes, endpoint->token->length);
}

static void leave_client(
    struct carry_out *out, const struct control_client *client, uint64_t number)
{
	carry_line(out, "client");
	carry_put_number(out, "number", number);
	carry_put_number(out, "endpoint", (uint64_t)client->endpoint->number);
	carry_put_fd(out, "fd", client->watch.fd);
	carry_put_number(out, "trusted", client->trusted);
	carry_put(out, owner_fields, &client->owner);
	carry_put(out, client_fields, client);
	carry_put_bytes(out, "in", client->in, client->in_length);
	if (client->out.length > client->sent)
		carry_put_bytes(out, "out", client->out.bytes + client->sent,
		    client->out.length - client->sent);
	if (client->late.length > 0)
		carry_put_bytes(out, "late", client->late.bytes, client->late.length);
	for (const struct listener *at = client->holder.leases; at != NULL; at = at->next_lease) {
		carry_line(out, "lease");
		carry_put_number(out, "client", number);
		carry_put_number(out, "listener", at->index);
	}
	if (client->waiter.listener != NULL) {
		carry_line(out, "waiter");
		carry_put_number(out, "client", number);
		carry_put_number(out, "listener", client->waiter.listener->index);
	}
}

void control_leave(struct carry_out *out, const struct parts *parts)
{
	const struct control *control = parts->control;
	uint64_t number = control->clients_count;

	carry_line(out, "control");
	carry_put(out, control_fields, control);
	for (size_t i = 0; i < CONTROL_ENDPOINTS_MAX; i++) {
		if (control->endpoints[i].control != NULL)
			leave_endpoint(out, parts, &control->endpoints[i]);
	}
	/* Numbered so that the one that is read last has 0, for the list begins with it. */
	for (const struct control_client *at = control->clients; at != NULL; at = at->next)
		leave_client(out, at, --number);
}

/* ---- resuming ---- */

int control_resume(struct carry_in *in, const struct parts *parts)
{
	if (parts->control->wheel != NULL)
		return carry_wrong(in, "there are two of control");
	if (control_make(parts->control) == -1)
		return carry_wrong(in, "%s", strerror(errno));
	return carry_get(in, control_fields, parts->control);
}

/* The rules that the line names. Returns them, or NULL with why. */
static const struct control_config *resume_rules(struct carry_in *in, const struct parts *parts)
{
	const struct control_config *rules;
	const struct config *config;
	uint64_t number, place;

	if (!carry_has(in, "config"))
		return control_default(parts->control);
	if (carry_get_number(in, "config", UINT64_MAX, &number) == -1 ||
	    carry_get_number(in, "place", UINT64_MAX, &place) == -1)
		return NULL;
	config = config_numbered(parts, number);
	rules = config != NULL ? config->controls : NULL;
	while (rules != NULL && place-- > 0)
		rules = rules->next;
	return rules;
}

/* Returns 0, or -1 with why. */
static int resume_token(struct carry_in *in, struct control_endpoint *endpoint)
{
	size_t length;
	char *bytes;

	if (carry_get_bytes(in, "token", &bytes, &length) == -1)
		return -1;
	if (bytes == NULL)
		return endpoint->path != NULL ? 0 : carry_wrong(in, "a token is missing");
	endpoint->token = calloc(1, sizeof *endpoint->token);
	if (endpoint->token != NULL && length > 0 && length <= sizeof endpoint->token->bytes) {
		memcpy(endpoint->token->bytes, bytes, length);
		endpoint->token->length = length;
	} else {
		carry_wrong(in, "a token is malformed");
	}
	carry_wipe(bytes, length);
	return in->why[0] == '\0' ? 0 : -1;
}

int endpoint_resume(struct carry_in *in, const struct parts *parts)
{
	struct control_endpoint *endpoint;
	const struct control_config *rules;
	int made = parts->control->endpoints_made;
	uint64_t is_path;

	if (parts->control->wheel == NULL)
		return carry_wrong(in, "an endpoint comes too early");
	rules = resume_rules(in, parts);
	endpoint = rules != NULL ? endpoint_make(parts->control, rules) : NULL;
	parts->control->endpoints_made = made; /* it has its number, which was counted then */
	if (endpoint == NULL)
		return carry_wrong(in, "an endpoint for control has no place");
	if (carry_get(in, endpoint_fields, endpoint) == -1 ||
	    carry_get_number(in, "unix", 1, &is_path) == -1)
		return -1;
	if (is_path) {
		endpoint->path = calloc(1, sizeof *endpoint->path);
		if (endpoint->path == NULL)
			return carry_wrong(in, "%s", strerror(errno));
		endpoint->path->fd = endpoint->watch.fd;
		endpoint->path->lock = -1;
		if (carry_get(in, path_fields, endpoint->path) == -1)
			return -1;
	}
	return endpoint->leaving ? 0 : resume_token(in, endpoint);
}

static struct control_endpoint *endpoint_numbered(struct control *control, uint64_t number)
{
	for (size_t i = 0; control->endpoints != NULL && i < CONTROL_ENDPOINTS_MAX; i++) {
		if (control->endpoints[i].control != NULL &&
		    (uint64_t)control->endpoints[i].number == number)
			return &control->endpoints[i];
	}
	return NULL;
}

/* Takes over what a client had said and was told. Returns 0, or -1 with why. */
static int resume_bytes(struct carry_in *in, struct control_client *client)
{
	struct control_buffer *const buffers[] = {&client->out, &client->late};
	static const char *const names[] = {"out", "late"};
	size_t length;
	char *bytes;

	for (size_t i = 0; i < 2; i++) {
		if (carry_get_bytes(in, names[i], &bytes, &length) == -1)
			return -1;
		*buffers[i] = (struct control_buffer){bytes, length, length};
	}
	if (carry_get_bytes(in, "in", &bytes, &length) == -1)
		return -1;
	if (length <= CONTROL_LINE_MAX && length > 0)
		memcpy(client->in, bytes, length);
	client->in_length = length;
	free(bytes);
	return length <= CONTROL_LINE_MAX ? 0 : carry_wrong(in, "a client said too much");
}

int client_resume(struct carry_in *in, const struct parts *parts)
{
	struct control_endpoint *endpoint;
	struct owner owner = {.endpoint = 0};
	struct control_client *client;
	uint64_t number, of, trusted;
	int fd = -1;

	if (carry_get_number(in, "number", CONTROL_CLIENTS_ALL, &number) == -1 ||
	    carry_get_number(in, "endpoint", UINT64_MAX, &of) == -1 ||
	    carry_get_number(in, "trusted", 1, &trusted) == -1 ||
	    carry_get(in, owner_fields, &owner) == -1 || carry_get_fd(in, "fd", &fd) == -1)
		return -1;
	endpoint = endpoint_numbered(parts->control, of);
	if (endpoint == NULL || fd < 0)
		return carry_wrong(in, "a client has no endpoint");
	owner.endpoint = endpoint->number;
	client = client_new(endpoint, fd, &owner, trusted);
	if (client == NULL)
		return carry_wrong(in, "%s", strerror(errno));
	if (carry_get(in, client_fields, client) == -1 || resume_bytes(in, client) == -1)
		return -1;
	client->number = number;
	if (client->state > CLIENT_CLOSING || client->report.part > REPORT_OVER)
		return carry_wrong(in, "a client makes no sense");
	return 0;
}

/* What a `lease` or `waiter` line names. Returns 0, or -1 with why. */
static int resume_pair(struct carry_in *in, const struct parts *parts,
    struct control_client **client, struct listener **listener)
{
	uint64_t number, place;

	if (carry_get_number(in, "client", CONTROL_CLIENTS_ALL, &number) == -1 ||
	    carry_get_number(in, "listener", SCOREBOARD_LISTENERS, &place) == -1)
		return -1;
	*client = parts->control->clients;
	while (*client != NULL && (*client)->number != number)
		*client = (*client)->next;
	*listener = place < parts->listeners->count ? &parts->listeners->all[place] : NULL;
	if (*client == NULL || *listener == NULL || (*listener)->state == LISTENER_VACANT)
		return carry_wrong(in, "a %s is nobody's", in->kind);
	return 0;
}

int lease_resume(struct carry_in *in, const struct parts *parts)
{
	struct control_client *client;
	struct listener *listener;

	if (resume_pair(in, parts, &client, &listener) == -1)
		return -1;
	if (listener->holder != NULL)
		return carry_wrong(in, "a lease has two holders");
	ports_hold(listener, &client->holder);
	return 0;
}

int waiter_resume(struct carry_in *in, const struct parts *parts)
{
	struct control_client *client;
	struct listener *listener;

	if (resume_pair(in, parts, &client, &listener) == -1)
		return -1;
	if (client->waiter.listener != NULL)
		return carry_wrong(in, "a client waits twice");
	ports_wait(parts->ports, listener, &client->waiter);
	return 0;
}
