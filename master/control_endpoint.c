/*
 * An endpoint of control: its listening socket, its token, and who is let in.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "control_parts.h"
#include "descriptor.h"
#include "path_socket.h"
#include "system.h"

#define BACKLOG 128
#define BATCH 32 /* connections taken in one go */
#define PAUSE_MS 100

/*
 * When a client of TCP whose machine or network is gone is given up, and its leases with it: after
 * IDLE + COUNT * INTERVAL seconds of silence, or UNTAKEN_MS after something was said to it.
 */
#define IDLE_S 5
#define INTERVAL_S 3
#define COUNT 3
#define UNTAKEN_MS 14000

static void set_int(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof value); /* it works without, only worse */
}

/* ---- the token ---- */

static void forget_token(struct control_token **token)
{
	volatile unsigned char *byte;

	if (*token == NULL)
		return;
	byte = (*token)->bytes;
	for (size_t i = 0; i < sizeof(*token)->bytes; i++)
		byte[i] = 0;
	free(*token);
	*token = NULL;
}

/* Reads a token into room of CONTROL_LINE_MAX bytes. Returns NULL or what is wrong. */
static const char *read_token(int fd, struct control_token *token)
{
	const size_t most = CONTROL_LINE_MAX - sizeof "token \"\"\r";
	struct stat info;
	ssize_t got;

	if (fstat(fd, &info) == -1)
		return strerror(errno);
	if (!S_ISREG(info.st_mode))
		return "it is not a regular file";
	if (info.st_mode & S_IROTH)
		return "everybody may read it; take that away, as with chmod o-r";
	got = read(fd, token->bytes, sizeof token->bytes);
	if (got == -1)
		return strerror(errno);
	while (got > 0 && (token->bytes[got - 1] == '\n' || token->bytes[got - 1] == '\r'))
		token->bytes[--got] = '\0';
	if (got == 0)
		return "it is empty";
	if ((size_t)got > most)
		return "it is longer than a line of the protocol";
	if (memchr(token->bytes, '\0', (size_t)got) != NULL ||
	    memchr(token->bytes, '\n', (size_t)got) != NULL)
		return "it is more than one line of text";
	token->length = (size_t)got;
	return NULL;
}

/* Makes a token of its file. Returns it, to be forgotten, or NULL with why. */
static struct control_token *load_token(const char *path, char *why, size_t size)
{
	struct control_token *token;
	const char *wrong;
	int fd;

	if (path == NULL) {
		snprintf(why, size, "a control endpoint over TCP needs a token-file");
		return NULL;
	}
	token = calloc(1, sizeof *token);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (token == NULL || fd == -1)
		wrong = strerror(errno);
	else
		wrong = read_token(fd, token);
	fd_close(&fd);
	if (wrong == NULL)
		return token;
	snprintf(why, size, "token-file %s: %s", path, wrong);
	forget_token(&token);
	return NULL;
}

void endpoint_detach(struct control_endpoint *endpoint)
{
	fd_close(&endpoint->watch.fd);
	forget_token(&endpoint->token);
	forget_token(&endpoint->next_token);
}

bool endpoint_knows(const struct control_endpoint *endpoint, const char *secret)
{
	static const unsigned char nothing;
	size_t length = strlen(secret);
	const struct control_token *token = endpoint->token;
	volatile unsigned difference = 0;

	/* Over the whole room, whatever the lengths are. */
	for (size_t i = 0; i < sizeof token->bytes; i++) {
		const unsigned char *theirs =
		    i < length ? (const unsigned char *)&secret[i] : &nothing;

		difference |= (unsigned)(*theirs ^ token->bytes[i]);
	}
	return (difference | (unsigned)(length ^ token->length)) == 0;
}

/* ---- opening ---- */

/* The group that its path is to have, in *gid; (gid_t)-1 for none. Returns 0, or -1 with why. */
static int find_group(const struct control_config *config, gid_t *gid, char *why, size_t size)
{
	const struct group *group = config->group != NULL ? getgrnam(config->group) : NULL;

	*gid = group != NULL ? group->gr_gid : (gid_t)-1;
	if (config->group == NULL || group != NULL)
		return 0;
	snprintf(why, size, "group %s: there is none of that name", config->group);
	return -1;
}

/* Makes the folder of the default endpoint, for that one alone. */
static void make_folder(const char *path)
{
	const char *run = getenv("XDG_RUNTIME_DIR"), *slash = strrchr(path, '/');
	char folder[sizeof((struct sockaddr_un *)0)->sun_path];
	size_t length = run != NULL && *run == '/' ? strlen(run) : 0;
	mode_t mode;

	snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
	if (strcmp(folder, "/run/lastcall") == 0)
		mode = 0755;
	else if (length > 0 && strncmp(folder, run, length) == 0 &&
	    strcmp(folder + length, "/lastcall") == 0)
		mode = 0700;
	else
		return;
	/* The mask of the configuration is for other files. That it is there already is fine; what
	 * else is wrong bind says. */
	if (mkdir(folder, 0700) == 0 && mode != 0700)
		chmod(folder, mode);
}

static int open_path(struct control_endpoint *endpoint, char *why, size_t size)
{
	const struct control_config *config = endpoint->config;
	gid_t group;

	endpoint->path = malloc(sizeof *endpoint->path);
	if (endpoint->path == NULL) {
		snprintf(why, size, "%s", strerror(errno));
		return -1;
	}
	*endpoint->path =
	    (struct path_socket){.fd = -1, .lock = -1, .at = config->address.socket.un};
	if (find_group(config, &group, why, size) == -1)
		return -1;
	if (config->soft)
		make_folder(endpoint->path->at.sun_path);
	/* Only a start has the time to wait for others. */
	if (path_socket_bind(endpoint->path, (mode_t)config->mode, group,
		endpoint->control->next == NULL ? PATH_SOCKET_PATIENCE : 0) == -1 ||
	    path_socket_listen(endpoint->path, BACKLOG) == -1) {
		snprintf(why, size, "%s",
		    errno == EADDRINUSE ? "it is in use by another server" : strerror(errno));
		return -1;
	}
	endpoint->watch.fd = endpoint->path->fd;
	return 0;
}

/* Returns 0, or -1 with errno. */
static int bind_tcp(struct control_endpoint *endpoint)
{
	const struct address *address = &endpoint->config->address;
	union address_socket at = address->socket;
	socklen_t length = address->length;
	int fd = socket(at.any.sa_family, SOCK_STREAM, 0);

	if (fd == -1 && errno == EAFNOSUPPORT && address->form == ADDRESS_ANY) {
		at = (union address_socket){
		    .in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)address->port)}};
		length = sizeof at.in;
		fd = socket(AF_INET, SOCK_STREAM, 0);
	}
	endpoint->watch.fd = fd;
	if (fd == -1 || fd_set_nonblocking(fd) == -1 || fd_set_cloexec(fd, true) == -1)
		return -1;
	if (at.any.sa_family == AF_INET6)
		set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, address->form != ADDRESS_ANY);
	set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, &at.any, length) == -1 || listen(fd, BACKLOG) == -1)
		return -1;
	length = sizeof at;
	if (getsockname(fd, &at.any, &length) == -1)
		return -1;
	address_format(
	    &at, length, address->form == ADDRESS_ANY, endpoint->text, sizeof endpoint->text);
	return 0;
}

static int open_tcp(struct control_endpoint *endpoint, char *why, size_t size)
{
	endpoint->token = load_token(endpoint->config->token_file, why, size);
	if (endpoint->token == NULL)
		return -1;
	if (bind_tcp(endpoint) == 0)
		return 0;
	snprintf(why, size, "%s", strerror(errno));
	return -1;
}

/* ---- accepting ---- */

/* What is told to whoever is not let in, as far as it can be told at once. */
static void turn_away(int fd, const char *code, const char *text)
{
	struct line_out line = {.length = 0};
	char unread[512];

	line_put_word(&line, "", "error");
	line_put_word(&line, "", code);
	line_put_text(&line, text);
	line_put_end(&line);
	/* What was read is no reason for the kernel to reset the connection under the answer. */
	recv(fd, unread, sizeof unread, MSG_DONTWAIT);
	send(fd, line.text, line.length, MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	fd_close(&fd);
}

static void set_tcp_limits(int fd)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, IDLE_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, INTERVAL_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, COUNT);
#endif
#ifdef TCP_USER_TIMEOUT
	set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNTAKEN_MS);
#endif
}

/* A connection that was accepted; it is ours to close. */
static void admit(
    struct control_endpoint *endpoint, int fd, const union address_socket *peer, socklen_t length)
{
	struct control *control = endpoint->control;
	struct owner owner = {.endpoint = endpoint->number};
	size_t most = CONTROL_CLIENTS_MAX;
	bool trusted = false;

	if (endpoint->path != NULL) {
		owner.known = system_peer(fd, &owner.uid, &owner.pid) == 0;
		trusted = policy_trusts(&owner, geteuid());
		most += trusted ? CONTROL_CLIENTS_RESERVED : 0;
	} else {
		address_format(peer, length, false, owner.peer, sizeof owner.peer);
		set_tcp_limits(fd);
	}
	if (!policy_admits(&endpoint->policy, peer)) {
		turn_away(fd, "policy", "allow-address does not have the address you come from");
		control->refused++;
	} else if (endpoint->clients >= most || fd > endpoint->fd_most) {
		turn_away(fd, "busy", "too many clients at this endpoint");
	} else if (client_new(endpoint, fd, &owner, trusted) == NULL) {
		log_write(control->log, LOG_WARNING, "control %s: cannot take a client: %s",
		    endpoint->text, strerror(errno));
	}
}

/* Stops accepting for a while: what it ran out of may be there again then. */
static void pause_accept(struct control_endpoint *endpoint, int error)
{
	struct control *control = endpoint->control;
	int64_t now = clock_ms();

	if (endpoint->paused_until == CLOCK_NEVER || now - endpoint->paused_until > PAUSE_MS)
		log_write(control->log, LOG_WARNING,
		    "control %s: accept: %s; trying again every %d ms", endpoint->text,
		    strerror(error), PAUSE_MS);
	loop_watch(control->loop, &endpoint->watch, 0);
	endpoint->paused_until = now + PAUSE_MS;
}

static bool goes_on(int error)
{
	/* The connection at the head is gone, or a network error on it is told: there may be
	 * another. */
	static const int passing[] = {EINTR, ECONNABORTED, EPROTO, EPERM, ENETDOWN, ENOPROTOOPT,
	    EHOSTDOWN, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ETIMEDOUT};

	for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
		if (error == passing[i])
			return true;
	return false;
}

static void endpoint_ready(struct watch *watch, unsigned events)
{
	struct control_endpoint *endpoint = container_of(watch, struct control_endpoint, watch);

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		union address_socket peer = {.any = {.sa_family = AF_UNIX}};
		socklen_t length = sizeof peer;
		int fd = system_accept(watch->fd, &peer.any, &length);

		if (fd >= 0) {
			admit(endpoint, fd, &peer, length);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		} else if (!goes_on(errno)) {
			pause_accept(endpoint, errno);
			return;
		}
	}
}

int64_t endpoint_step(struct control_endpoint *endpoint, int64_t now)
{
	if (endpoint->watch.events != 0 || endpoint->watch.fd < 0)
		return CLOCK_NEVER;
	if (now < endpoint->paused_until)
		return endpoint->paused_until;
	if (loop_watch(endpoint->control->loop, &endpoint->watch, LOOP_READ) == -1)
		endpoint->paused_until = now + PAUSE_MS;
	return endpoint->watch.events != 0 ? CLOCK_NEVER : endpoint->paused_until;
}

int endpoint_begin(struct control_endpoint *endpoint)
{
	endpoint->planned = false;
	return loop_watch(endpoint->control->loop, &endpoint->watch, LOOP_READ);
}

static struct control_endpoint *vacant(struct control *control)
{
	for (size_t i = 0; i < CONTROL_ENDPOINTS_MAX; i++) {
		if (control->endpoints[i].control == NULL)
			return &control->endpoints[i];
	}
	errno = ENFILE;
	return NULL;
}

struct control_endpoint *endpoint_make(struct control *control, const struct control_config *config)
{
	struct control_endpoint *endpoint = vacant(control);
	struct policy policy;
	struct rlimit limit;

	if (endpoint == NULL || policy_init(&policy, config) == -1)
		return NULL;
	*endpoint = (struct control_endpoint){
	    .control = control,
	    .config = config,
	    .policy = policy,
	    .watch = {.fd = -1, .ready = endpoint_ready},
	    .number = control->endpoints_made++,
	    .paused_until = CLOCK_NEVER,
	    .fd_most = INT_MAX,
	};
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX)
		endpoint->fd_most =
		    (int)limit.rlim_cur - CONTROL_FDS_LEFT - (int)control->pool->capacity;
	snprintf(endpoint->text, sizeof endpoint->text, "%s", config->address.text);
	return endpoint;
}

int endpoint_open(struct control_endpoint **out, struct control *control,
    const struct control_config *config, char *why, size_t size)
{
	struct control_endpoint *endpoint = endpoint_make(control, config);
	char reason[512];
	int result;

	*out = endpoint;
	if (endpoint == NULL) {
		snprintf(why, size, "control %s: %s", config->address.text,
		    errno == ENFILE ? "clients of too many others are still there"
				    : strerror(errno));
		return -1;
	}
	result = config->address.form == ADDRESS_UNIX ? open_path(endpoint, reason, sizeof reason)
						      : open_tcp(endpoint, reason, sizeof reason);
	/* One of a configuration that is not in force yet takes nobody. */
	endpoint->planned = control->next != NULL;
	if (result == 0 && !endpoint->planned && endpoint_begin(endpoint) == -1) {
		snprintf(reason, sizeof reason, "%s", strerror(errno));
		result = -1;
	}
	if (result == -1)
		snprintf(why, size, "control %s: %s", endpoint->text, reason);
	return result;
}

static void stop_listening(struct control_endpoint *endpoint)
{
	if (endpoint->watch.fd >= 0)
		loop_watch(endpoint->control->loop, &endpoint->watch, 0);
	if (endpoint->path != NULL) {
		path_socket_close(endpoint->path);
		endpoint->watch.fd = -1;
	}
	fd_close(&endpoint->watch.fd);
	free(endpoint->path);
	endpoint->path = NULL;
}

void endpoint_close(struct control_endpoint *endpoint)
{
	stop_listening(endpoint);
	endpoint_unplan(endpoint);
	forget_token(&endpoint->token);
	policy_release(&endpoint->policy);
	*endpoint = (struct control_endpoint){.control = NULL};
}

/* ---- other rules ---- */

int endpoint_plan(
    struct control_endpoint *endpoint, const struct control_config *next, char *why, size_t size)
{
	char reason[512];
	gid_t group;

	if (policy_init(&endpoint->next_policy, next) == -1) {
		snprintf(why, size, "control %s: %s", endpoint->text, strerror(errno));
		return -1;
	}
	endpoint->next = next;
	if (endpoint->path == NULL)
		endpoint->next_token = load_token(next->token_file, reason, sizeof reason);
	if (endpoint->path == NULL ? endpoint->next_token != NULL
				   : find_group(next, &group, reason, sizeof reason) == 0)
		return 0;
	snprintf(why, size, "control %s: %s", endpoint->text, reason);
	return -1;
}

void endpoint_unplan(struct control_endpoint *endpoint)
{
	endpoint->next = NULL;
	policy_release(&endpoint->next_policy);
	forget_token(&endpoint->next_token);
}

/* Mode and group of its path. What cannot be done was allowed a moment ago, and is told. */
static void adopt_path(struct control_endpoint *endpoint)
{
	const char *path = endpoint->path->at.sun_path;
	char why[256] = "";
	gid_t group;

	if (endpoint->next->mode == endpoint->config->mode && endpoint->next->group == NULL &&
	    endpoint->config->group == NULL)
		return;
	if (!path_socket_is_ours(endpoint->path))
		return;
	if (find_group(endpoint->next, &group, why, sizeof why) == -1 ||
	    lchown(path, (uid_t)-1, group != (gid_t)-1 ? group : getegid()) == -1 ||
	    chmod(path, (mode_t)endpoint->next->mode) == -1)
		log_write(endpoint->control->log, LOG_WARNING, "control %s: mode and group: %s",
		    endpoint->text, why[0] != '\0' ? why : strerror(errno));
}

void endpoint_adopt(struct control_endpoint *endpoint)
{
	bool same = endpoint->token == NULL || endpoint->next_token == NULL ||
	    memcmp(endpoint->token, endpoint->next_token, sizeof *endpoint->token) == 0;

	if (endpoint->path != NULL)
		adopt_path(endpoint);
	control_revoke(endpoint, same ? &endpoint->next_policy : NULL);
	policy_release(&endpoint->policy);
	forget_token(&endpoint->token);
	endpoint->config = endpoint->next;
	endpoint->policy = endpoint->next_policy;
	endpoint->token = endpoint->next_token;
	endpoint->next = NULL;
	endpoint->next_policy = (struct policy){0};
	endpoint->next_token = NULL;
}

void endpoint_leave(struct control_endpoint *endpoint)
{
	/* Nobody new finds it, and who has come already is let in. */
	if (endpoint->path != NULL)
		path_socket_unlink(endpoint->path);
	if (endpoint->watch.events != 0)
		endpoint_ready(&endpoint->watch, LOOP_READ);
	control_revoke(endpoint, NULL);
	stop_listening(endpoint);
	endpoint->leaving = true;
	endpoint->paused_until = CLOCK_NEVER;
	if (endpoint->clients == 0)
		endpoint_close(endpoint);
}
