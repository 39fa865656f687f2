/*
 * The process that starts programs; see launcher.h. It trusts its worker with nothing but the
 * connections: what is run, and as whom, it has from before the fork.
 *
 *   VACANT ──START──► RUNNING ──END, or the worker is gone──► ENDING
 *                        │                                      │
 *                        └────────the program has ended─────────┴──► LEFT ──► VACANT
 *
 *   RUNNING  Its standard error is read, line by line.
 *   ENDING   Its group was sent TERM, and is sent KILL when its time is over.
 *   LEFT     The program itself was reaped and the worker told. What is left of its group was sent
 *            TERM, and is sent KILL after end_delay. What left the group is only told of.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "clock.h"
#include "descriptor.h"
#include "launcher_parts.h"
#include "loop.h"
#include "signals.h"
#include "system.h"
#include "wheel.h"

#define CHANNEL 3 /* where the channel is put; what is above is closed */
#define MESSAGES_MAX 64 /* in one go */
#define READ_SIZE 65536 /* of a standard error, in one go */
#define LINES_BURST 200 /* that a program may write at once, */
#define LINES_PER_SECOND 100 /* and from then on */
#define LOOK_MS 50 /* between two looks whether a group is gone */
#define LEAVING_MS 500 /* the most that what is left is given once the worker is done */
#define STRAYS_MS 200 /* between two looks for what left its group */
#define STRAYS_MAX 256
#define NOTICE_MAX 4096 /* bytes of what an instance says of itself; the rest is not read */
#define NOTICES_MAX 16 /* in one go */
#define UNTOLD_PER_RUN 3 /* STARTED, SAID once, ENDED */
#define NOBODY UINT32_MAX /* no run */

enum state { STATE_VACANT, STATE_RUNNING, STATE_ENDING, STATE_LEFT };

struct process;

struct program {
	struct process *process;
	struct watch errors; /* its standard error; of an instance its standard output too */
	struct watch notify; /* of an instance: what it says of itself */
	char notify_address[64];
	struct timer timer;
	enum state state;
	pid_t pid; /* and process group */
	uint32_t run;
	int64_t kill_at; /* ms; CLOCK_NEVER: it is not to be killed, or was */
	bool killed; /* its group was sent KILL */
	int64_t lines_at; /* when lines was filled up, ms */
	uint32_t lines; /* that it may still write */
	uint32_t dropped;
	bool said; /* that it is ready, and the worker was told */
	uint32_t length; /* of the line that has begun */
	struct program *next; /* free list, or of the same place in by_pid */
	char line[LAUNCHER_LINE_MAX];
};

#define PLACES 4096 /* of by_pid */

struct process {
	const struct launcher_plan *plan;
	struct child_program what;
	bool found; /* the program; else it is looked for again each time */
	struct loop *loop;
	struct wheel wheel;
	int64_t now;
	struct watch channel, signals;
	int nothing; /* /dev/null, the standard input of instances */
	struct program *programs, *vacant;
	size_t capacity, touched, living;
	struct program *by_pid[PLACES];
	struct program **by_run; /* plan->capacity of them */
	bool leaving; /* the worker has closed */
	struct untold {
		uint32_t run;
		int32_t type, value;
	} * untold; /* UNTOLD_PER_RUN times plan->capacity of them */
	size_t untold_count;
	int64_t strays_at; /* when to look for them; CLOCK_NEVER */
	pid_t strays[STRAYS_MAX]; /* those that were told of */
	size_t strays_count;
};

static void set_state(struct program *program, enum state state)
{
	program->state = state;
}

/* ---- telling the worker ---- */

static int tell(const struct launcher_head *head, const char *text, size_t length)
{
	struct iovec parts[] = {
	    {(void *)(uintptr_t)head, sizeof *head},
	    {(void *)(uintptr_t)text, length},
	};
	struct msghdr packet = {.msg_iov = parts, .msg_iovlen = length > 0 ? 2 : 1};

	return sendmsg(CHANNEL, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 ? -1 : 0;
}

/* What must not be lost is told later if it cannot be told now. */
static void tell_surely(struct process *p, uint32_t type, uint32_t run, int32_t value)
{
	const struct launcher_head head = {.type = type, .run = run, .value = value};

	if (p->leaving)
		return;
	if (p->untold_count == 0 && tell(&head, NULL, 0) == 0)
		return;
	if (p->untold_count < p->plan->capacity * UNTOLD_PER_RUN)
		p->untold[p->untold_count++] =
		    (struct untold){.run = run, .type = (int32_t)type, .value = value};
	loop_watch(p->loop, &p->channel, LOOP_READ | LOOP_WRITE);
}

static void tell_untold(struct process *p)
{
	size_t told = 0;

	while (told < p->untold_count) {
		const struct untold *at = &p->untold[told];
		const struct launcher_head head = {
		    .type = (uint32_t)at->type, .run = at->run, .value = at->value};

		if (tell(&head, NULL, 0) == -1 && errno == EAGAIN)
			break;
		told++;
	}
	p->untold_count -= told;
	memmove(p->untold, p->untold + told, p->untold_count * sizeof *p->untold);
	if (p->untold_count == 0)
		loop_watch(p->loop, &p->channel, LOOP_READ);
}

/* ---- the table ---- */

static struct program **place_of(struct process *p, pid_t pid)
{
	return &p->by_pid[(unsigned)pid % PLACES];
}

static struct program *find_pid(struct process *p, pid_t pid)
{
	struct program *at = *place_of(p, pid);

	while (at != NULL && at->pid != pid)
		at = at->next;
	return at;
}

static struct program *program_take(struct process *p)
{
	struct program *program = p->vacant;

	if (program != NULL)
		p->vacant = program->next;
	else if (p->touched < p->capacity)
		program = &p->programs[p->touched++];
	if (program != NULL)
		program->process = p;
	return program;
}

static void program_give(struct program *program)
{
	program->next = program->process->vacant;
	program->process->vacant = program;
}

static void close_notify(struct program *program)
{
	if (program->notify.fd >= 0)
		loop_watch(program->process->loop, &program->notify, 0);
	system_notify_close(&program->notify.fd, program->notify_address);
}

static void program_free(struct program *program)
{
	struct program **link = place_of(program->process, program->pid);

	while (*link != program)
		link = &(*link)->next;
	*link = program->next;
	timer_clear(&program->process->wheel, &program->timer);
	if (program->errors.fd >= 0)
		loop_watch(program->process->loop, &program->errors, 0);
	fd_close(&program->errors.fd);
	close_notify(program);
	set_state(program, STATE_VACANT);
	program->process->living--;
	program_give(program);
}

/* ---- its standard error ---- */

static bool may_write_line(struct program *program)
{
	int64_t passed = program->process->now - program->lines_at;
	int64_t more = passed * LINES_PER_SECOND / 1000;

	if (more > 0) {
		program->lines_at = program->process->now;
		program->lines = more + program->lines > LINES_BURST
		    ? LINES_BURST
		    : program->lines + (uint32_t)more;
	}
	return program->lines > 0;
}

static void tell_dropped(struct program *program)
{
	const struct launcher_head head = {
	    .type = LAUNCHER_DROPPED,
	    .run = NOBODY,
	    .pid = program->pid,
	    .value = program->dropped > INT32_MAX ? INT32_MAX : (int32_t)program->dropped,
	};

	if (program->dropped > 0 && tell(&head, NULL, 0) == 0)
		program->dropped = 0;
}

static void tell_line(struct program *program)
{
	const struct launcher_head head = {
	    .type = LAUNCHER_LINE, .run = NOBODY, .pid = program->pid};

	if (program->length > 0 && may_write_line(program)) {
		tell_dropped(program);
		if (program->dropped == 0 && tell(&head, program->line, program->length) == 0)
			program->lines--;
		else
			program->dropped++;
	} else if (program->length > 0) {
		program->dropped++;
	}
	program->length = 0;
}

/* Cuts what was read into lines. An empty line is none. */
static void take_lines(struct program *program, const char *bytes, size_t length)
{
	while (length > 0) {
		const char *end = memchr(bytes, '\n', length);
		size_t part = end != NULL ? (size_t)(end - bytes) : length;
		size_t room = sizeof program->line - program->length;
		bool whole = end != NULL && part <= room;

		if (part > room)
			part = room;
		memcpy(program->line + program->length, bytes, part);
		program->length += (uint32_t)part;
		bytes += part + whole;
		length -= part + whole;
		if (whole || program->length == sizeof program->line)
			tell_line(program);
	}
}

static void close_errors(struct program *program)
{
	tell_line(program);
	tell_dropped(program);
	if (program->errors.fd >= 0)
		loop_watch(program->process->loop, &program->errors, 0);
	fd_close(&program->errors.fd);
}

/* Reads once. Returns whether there may be more. */
static bool read_errors(struct program *program)
{
	static char bytes[READ_SIZE];
	ssize_t got;

	if (program->errors.fd < 0)
		return false;
	got = read(program->errors.fd, bytes, sizeof bytes);
	if (got > 0) {
		take_lines(program, bytes, (size_t)got);
		return got == (ssize_t)sizeof bytes;
	}
	if (got == 0 || (errno != EAGAIN && errno != EINTR))
		close_errors(program);
	return false;
}

static void errors_ready(struct watch *watch, unsigned events)
{
	(void)events;
	read_errors(container_of(watch, struct program, errors));
}

/* ---- what an instance says of itself ---- */

/* Whether one of the lines of a message is this. */
static bool has_line(const char *text, const char *line)
{
	size_t length = strlen(line);

	for (; text != NULL; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (strncmp(text, line, length) == 0 &&
		    (text[length] == '\0' || text[length] == '\n'))
			return true;
		if (*text == '\0')
			break;
	}
	return false;
}

static void notify_ready(struct watch *watch, unsigned events)
{
	struct program *program = container_of(watch, struct program, notify);
	char text[NOTICE_MAX + 1];
	ssize_t got;

	(void)events;
	for (int i = 0; i < NOTICES_MAX; i++) {
		got = system_notify_receive(watch->fd, text, sizeof text);
		if (got == -1 && errno != EINTR)
			return;
		if (got <= 0 || program->said || program->state != STATE_RUNNING ||
		    !has_line(text, "READY=1"))
			continue;
		program->said = true;
		tell_surely(program->process, LAUNCHER_SAID, program->run, 0);
	}
}

/* ---- ending ---- */

static bool group_is_there(const struct program *program)
{
	return kill(-program->pid, 0) == 0 || errno == EPERM;
}

static void end_group(struct program *program, int64_t delay)
{
	const struct launcher_instances *instances = program->process->plan->instances;

	/* An instance that has processes of its own ends them as it sees fit. It is asked once. */
	if (instances == NULL)
		kill(-program->pid, SIGTERM);
	else if (program->state == STATE_RUNNING)
		kill(program->pid, instances->stop_signal);
	program->kill_at = program->process->now + delay;
	timer_set(&program->process->wheel, &program->timer, program->kill_at);
}

static void kill_group(struct program *program)
{
	/* The program may have left its group; it is ours until it is reaped. */
	if (program->state == STATE_ENDING)
		kill(program->pid, SIGKILL);
	kill(-program->pid, SIGKILL);
	program->killed = true;
	program->kill_at = CLOCK_NEVER;
}

/*
 * What became of a program that was reaped: whether anything of its group is left. After KILL
 * nothing can be done: what is there still was not reaped by whoever has to, which may take long.
 */
static void look_at_left(struct program *program)
{
	if (program->killed || !group_is_there(program)) {
		program_free(program);
		return;
	}
	if (program->process->now >= program->kill_at)
		kill_group(program);
	timer_set(&program->process->wheel, &program->timer, program->process->now + LOOK_MS);
}

static void program_fire(struct timer *timer)
{
	struct program *program = container_of(timer, struct program, timer);

	if (program->state == STATE_LEFT)
		look_at_left(program);
	else if (program->state == STATE_ENDING)
		kill_group(program);
}

/* The program has ended; it is a zombie still, so that its group is its own. */
static void program_ended(struct program *program)
{
	int status = 0;

	kill(-program->pid, SIGTERM);
	while (waitpid(program->pid, &status, 0) == -1 && errno == EINTR)
		continue;
	/* What it wrote last comes before its end. */
	for (int reads = 0; reads < 4 && read_errors(program); reads++)
		continue;
	program->process->by_run[program->run] = NULL;
	tell_surely(program->process, LAUNCHER_ENDED, program->run, status);
	if (program->process->strays_at == CLOCK_NEVER)
		program->process->strays_at = program->process->now + STRAYS_MS;
	if (!group_is_there(program)) {
		/* Whoever has its standard error now is a stranger. */
		close_errors(program);
		program_free(program);
		return;
	}
	/* One that was to be killed is no less so for what it leaves behind. */
	if (!program->killed)
		program->kill_at = clock_earlier(program->kill_at,
		    program->process->now +
			(program->process->leaving ? LEAVING_MS
						   : program->process->plan->end_delay));
	set_state(program, STATE_LEFT);
	timer_set(&program->process->wheel, &program->timer, program->process->now + LOOK_MS);
}

/* ---- those that left their group ---- */

static bool is_told_of(struct process *p, pid_t pid)
{
	for (size_t i = 0; i < p->strays_count; i++) {
		if (p->strays[i] == pid)
			return true;
	}
	return false;
}

/* Processes whose parents died are our children: those of no group that we know are told of. */
static void look_for_strays(struct process *p)
{
	static pid_t children[STRAYS_MAX * 8];
	size_t count = system_children(children, sizeof children / sizeof *children);

	p->strays_at = CLOCK_NEVER;
	for (size_t i = 0; i < count; i++) {
		const struct launcher_head head = {
		    .type = LAUNCHER_STRAY, .run = NOBODY, .pid = children[i]};

		if (find_pid(p, children[i]) != NULL || find_pid(p, getpgid(children[i])) != NULL ||
		    is_told_of(p, children[i]))
			continue;
		if (p->strays_count < STRAYS_MAX && tell(&head, NULL, 0) == 0)
			p->strays[p->strays_count++] = children[i];
	}
}

static void forget_stray(struct process *p, pid_t pid)
{
	for (size_t i = 0; i < p->strays_count; i++) {
		if (p->strays[i] == pid)
			p->strays[i] = p->strays[--p->strays_count];
	}
}

/* ---- deaths ---- */

static void reap(struct process *p)
{
	siginfo_t info = {.si_pid = 0};

	/* Looked at first and reaped later: until then the number is nobody else's. */
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
		struct program *program = find_pid(p, info.si_pid);

		if (program != NULL && program->state != STATE_LEFT) {
			program_ended(program);
		} else {
			waitpid(info.si_pid, NULL, WNOHANG);
			forget_stray(p, info.si_pid);
		}
		info.si_pid = 0;
	}
}

static void signals_ready(struct watch *watch, unsigned events)
{
	(void)watch;
	(void)events;
	signals_clear();
}

/* ---- starting ---- */

#define VARIABLE_SIZE 160

/* "TCPREMOTEIP=127.0.0.1" and the like. */
struct variables {
	char text[CHILD_VARIABLES][VARIABLE_SIZE];
	char *list[CHILD_VARIABLES];
	size_t count;
};

static void add(struct variables *to, const char *name, const char *value)
{
	char *text = to->text[to->count];

	snprintf(text, VARIABLE_SIZE, "%s=%s", name, value);
	to->list[to->count++] = text;
}

static void add_number(struct variables *to, const char *name, unsigned long value)
{
	char text[24];

	snprintf(text, sizeof text, "%lu", value);
	add(to, name, text);
}

static void describe_unix(struct variables *to, int connection, const union address_socket *local)
{
	uid_t uid;
	gid_t gid;
	pid_t pid;

	add(to, "PROTO", "IPC");
	add(to, "IPCLOCALPATH", local->un.sun_path);
	add(to, "IPCREMOTEPATH", "");
	if (system_peer_group(connection, &uid, &gid, &pid) == -1)
		return;
	add_number(to, "IPCREMOTEEUID", (unsigned long)uid);
	add_number(to, "IPCREMOTEEGID", (unsigned long)gid);
	add_number(to, "UNIXREMOTEUID", (unsigned long)uid);
	add_number(to, "UNIXREMOTEGID", (unsigned long)gid);
	if (pid > 0)
		add_number(to, "UNIXREMOTEPID", (unsigned long)pid);
}

/* What UCSPI programs are told of their connection. The local address is the kernel's word, the
 * client's too, or what a balancer that is trusted said. */
static void describe(
    struct variables *to, int connection, const union address_socket *peer, uint32_t number)
{
	union address_socket local;
	socklen_t length = sizeof local;
	char host[64];

	to->count = 0;
	memset(&local, 0, sizeof local);
	if (getsockname(connection, &local.any, &length) == -1)
		local = *peer;
	if (peer->any.sa_family == AF_UNIX) {
		describe_unix(to, connection, &local);
		return;
	}
	add(to, "PROTO", "TCP");
	/* Behind a balancer on a Unix socket it is not known. */
	if (local.any.sa_family != AF_UNIX) {
		add(to, "TCPLOCALIP", address_host(&local, host, sizeof host));
		add_number(to, "TCPLOCALPORT", address_port(&local));
	}
	add(to, "TCPREMOTEIP", address_host(peer, host, sizeof host));
	add_number(to, "TCPREMOTEPORT", address_port(peer));
	if (number > 0)
		add_number(to, "TCPCONNNUM", number);
}

static void tell_failed(struct process *p, uint32_t run, int error, const char *what)
{
	const struct launcher_head head = {.type = LAUNCHER_FAILED, .run = run, .value = error};

	if (p->untold_count > 0 || tell(&head, what, strlen(what)) == -1)
		tell_surely(p, LAUNCHER_FAILED, run, error);
}

/* What a program is started with. */
struct beginning {
	const struct launcher_head *head;
	const int *fds; /* the connection, or the sockets of an instance */
	size_t fds_count;
	const union address_socket *peer; /* of a connection */
	const char *names; /* of the sockets, */
	char notify[64]; /* and where it may speak, or empty */
	int notify_fd;
};

/* Puts a program that runs into the table. */
static void enter_program(
    struct process *p, struct program *program, const struct beginning *with, pid_t pid, int errors)
{
	/* One whose group is gone, or the number would not be free, and that was not looked at
	 * since. */
	struct program *before = find_pid(p, pid);

	if (before != NULL)
		program_free(before);
	*program = (struct program){
	    .process = p,
	    .errors = {.fd = errors, .ready = errors_ready},
	    .notify = {.fd = with->notify_fd, .ready = notify_ready},
	    .timer = {.fire = program_fire},
	    .pid = pid,
	    .run = with->head->run,
	    .kill_at = CLOCK_NEVER,
	    .lines_at = p->now,
	    .lines = LINES_BURST,
	    .next = *place_of(p, pid),
	};
	snprintf(program->notify_address, sizeof program->notify_address, "%s", with->notify);
	*place_of(p, pid) = program;
	set_state(program, STATE_RUNNING);
	p->by_run[program->run] = program;
	p->living++;
	if (loop_watch(p->loop, &program->errors, LOOP_READ) == -1)
		fd_close(&program->errors.fd); /* it is told so by EPIPE */
	if (program->notify.fd >= 0 && loop_watch(p->loop, &program->notify, LOOP_READ) == -1)
		system_notify_close(&program->notify.fd, program->notify_address);
}

/* A connection, which is to wait as programs expect. It is the worker's descriptor too, which waits
 * in none of its calls. Returns 0, or -1 with errno. */
static int describe_connection(const struct beginning *with, struct variables *variables)
{
	int keep = 1;

	if (fcntl(with->fds[0], F_SETFL, 0) == -1)
		return -1;
	if (with->peer->any.sa_family != AF_UNIX)
		setsockopt(with->fds[0], SOL_SOCKET, SO_KEEPALIVE, &keep, sizeof keep);
	describe(variables, with->fds[0], with->peer, with->head->number);
	return 0;
}

/* Listening sockets, by the protocol of sd_listen_fds(3); child.c adds LISTEN_PID. Their flags are
 * left as they are: other instances have the same. Returns 0, or -1 with errno. */
static int describe_sockets(
    const struct process *p, struct beginning *with, struct variables *variables)
{
	static char names[LAUNCHER_NAMES_MAX + sizeof "LISTEN_FDNAMES="];

	variables->count = 0;
	add_number(variables, "LISTEN_FDS", (unsigned long)with->fds_count);
	snprintf(names, sizeof names, "LISTEN_FDNAMES=%s", with->names);
	variables->list[variables->count++] = names;
	if (!p->plan->instances->notify)
		return 0;
	with->notify_fd = system_notify_open(with->notify, sizeof with->notify);
	if (with->notify_fd == -1)
		return -1;
	add(variables, "NOTIFY_SOCKET", with->notify);
	return 0;
}

/* Starts it. Returns 0, or -1 with errno and what. */
static int start_program(
    struct process *p, struct program *program, struct beginning *with, const char **what)
{
	static struct variables variables;
	bool instance = p->plan->instances != NULL;
	struct child_descriptors descriptors = {.input = with->fds[0], .output = with->fds[0]};
	int ends[2], error;
	pid_t pid = -1;

	with->notify_fd = -1;
	*what = "pipe";
	if (fd_pipe(ends) == -1)
		return -1;
	*what = "descriptors";
	if ((instance ? describe_sockets(p, with, &variables)
		      : describe_connection(with, &variables)) == -1 ||
	    fcntl(ends[1], F_SETFL, 0) == -1)
		goto fail;
	descriptors.errors = ends[1];
	if (instance) {
		descriptors.input = p->nothing;
		descriptors.output = ends[1];
		descriptors.sockets = with->fds;
		descriptors.sockets_count = with->fds_count;
	}
	pid = child_start(&p->what, &descriptors, variables.list, variables.count, what);
	if (pid == -1)
		goto fail;
	fd_close(&ends[1]);
	enter_program(p, program, with, pid, ends[0]);
	return 0;
fail:
	error = errno;
	fd_close(&ends[0]);
	fd_close(&ends[1]);
	system_notify_close(&with->notify_fd, with->notify);
	errno = error;
	return -1;
}

/* Whether the client has reset its connection while it waited: nobody would hear a program. One
 * that has only shut its side is there. */
static bool client_is_gone(int connection)
{
	struct pollfd look = {.fd = connection};
	char byte;

	if (poll(&look, 1, 0) != 1)
		return false;
	/* A Unix client that has sent all and closed looks like this too, but what it has sent is
	 * there. */
	return (look.revents & POLLERR) != 0 ||
	    ((look.revents & POLLHUP) != 0 &&
		recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0);
}

static void heed_start(struct process *p, struct beginning *with)
{
	const struct launcher_head *head = with->head;
	struct program *program = NULL;
	const char *what = "";
	int error = 0;

	if (head->run >= p->plan->capacity || p->by_run[head->run] != NULL)
		return;
	if (with->fds_count == 0 || (p->plan->instances != NULL && with->fds_count != head->number))
		error = EMFILE; /* they were lost on the way */
	else if (p->plan->instances == NULL && client_is_gone(with->fds[0]))
		error = ECONNRESET;
	if (error == 0 && !p->found) {
		p->found = child_find(&p->what, p->plan->options) == 0;
		error = p->found ? 0 : errno;
	}
	if (error == 0 && (program = program_take(p)) == NULL)
		error = EAGAIN;
	if (error == 0 && start_program(p, program, with, &what) == 0) {
		tell_surely(p, LAUNCHER_STARTED, head->run, program->pid);
		return;
	}
	if (error == 0) {
		error = errno;
		program_give(program);
	}
	tell_failed(p, head->run, error, what[0] != '\0' ? what : p->plan->options->command[0]);
}

static void heed_end(struct process *p, const struct launcher_head *head)
{
	struct program *program;

	if (head->run >= p->plan->capacity)
		return;
	program = p->by_run[head->run];
	if (program == NULL)
		return;
	end_group(program, head->value < 0 ? 0 : head->value);
	set_state(program, STATE_ENDING);
}

/* The worker is done, or gone: nothing that it had goes on. */
static void leave(struct process *p)
{
	loop_watch(p->loop, &p->channel, 0);
	p->leaving = true;
	for (size_t i = 0; i < p->touched; i++) {
		struct program *program = &p->programs[i];

		if (program->state == STATE_RUNNING) {
			end_group(program,
			    p->plan->instances != NULL ? p->plan->instances->leave_delay
						       : p->plan->end_delay);
			set_state(program, STATE_ENDING);
		} else if (program->state == STATE_ENDING && p->plan->instances != NULL) {
			program->kill_at = clock_earlier(
			    program->kill_at, p->now + p->plan->instances->leave_delay);
			timer_set(&p->wheel, &program->timer, program->kill_at);
		} else if (program->state == STATE_LEFT) {
			program->kill_at = clock_earlier(program->kill_at, p->now + LEAVING_MS);
		}
	}
}

/* The descriptors of a message. Returns how many. */
static size_t take_descriptors(struct msghdr *packet, int *fds)
{
	struct cmsghdr *at = CMSG_FIRSTHDR(packet);
	size_t count = 0;

	if (at == NULL || at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
		return 0;
	while (count < CHILD_SOCKETS && at->cmsg_len >= CMSG_LEN((count + 1) * sizeof *fds))
		count++;
	memcpy(fds, CMSG_DATA(at), count * sizeof *fds);
	for (size_t i = 0; i < count; i++)
		fd_set_cloexec(fds[i], true);
	return count;
}

/* Takes one message. Returns whether there may be more. */
static bool hear(struct process *p)
{
	struct launcher_head head = {.type = 0};
	union {
		union address_socket peer;
		char names[LAUNCHER_NAMES_MAX + 1];
	} more = {.peer = {.any = {.sa_family = AF_UNSPEC}}};
	struct iovec parts[] = {{&head, sizeof head}, {&more, sizeof more - 1}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(CHILD_SOCKETS * sizeof(int))];
	} rights;
	struct msghdr packet = {
	    .msg_iov = parts,
	    .msg_iovlen = 2,
	    .msg_control = rights.bytes,
	    .msg_controllen = sizeof rights.bytes,
	};
	ssize_t got = recvmsg(CHANNEL, &packet, MSG_DONTWAIT);
	int fds[CHILD_SOCKETS];
	struct beginning with = {
	    .head = &head, .fds = fds, .peer = &more.peer, .names = more.names};

	if (got == -1)
		return errno == EINTR;
	if (got < (ssize_t)sizeof head) {
		leave(p);
		return false;
	}
	with.fds_count = take_descriptors(&packet, fds);
	if (p->plan->instances != NULL)
		more.names[(size_t)got - sizeof head] = '\0';
	if (head.type == LAUNCHER_START &&
	    (p->plan->instances != NULL || got == (ssize_t)(sizeof head + sizeof more.peer)))
		heed_start(p, &with);
	else if (head.type == LAUNCHER_END)
		heed_end(p, &head);
	for (size_t i = 0; i < with.fds_count; i++)
		fd_close(&fds[i]);
	return true;
}

static void channel_ready(struct watch *watch, unsigned events)
{
	struct process *p = container_of(watch, struct process, channel);

	if (events & LOOP_WRITE)
		tell_untold(p);
	for (int i = 0; i < MESSAGES_MAX && hear(p); i++) {
		/* A start takes long enough for others to end, whose clients wait to hear of it. */
		if (signals_take(SIGCHLD))
			reap(p);
	}
}

/* ---- the process ---- */

static void *reserve(size_t size)
{
	void *memory = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Gives up all that is the worker's. Returns 0 or -1. */
static int become_launcher(int channel, const struct launcher_plan *plan)
{
	system_wake_on_parent_death();
	if (channel != CHANNEL && dup2(channel, CHANNEL) == -1)
		return -1;
	system_close_from(CHANNEL + 1);
	if (fd_set_cloexec(CHANNEL, true) == -1)
		return -1;
	if (plan->account != NULL &&
	    (account_become(plan->account) == -1 || system_no_new_privileges() == -1))
		return -1;
	system_wake_on_parent_death(); /* forgotten with the user */
	system_adopt_orphans();
	return 0;
}

static int open_all(struct process *p, const struct launcher_plan *plan)
{
	static const int heard[] = {SIGCHLD, 0};

	p->plan = plan;
	p->now = clock_ms();
	p->strays_at = CLOCK_NEVER;
	/* What was ended may be left for a while, beside as many that are new. */
	p->capacity = plan->capacity * 2;
	p->programs = reserve(p->capacity * sizeof *p->programs);
	p->by_run = reserve(plan->capacity * sizeof(struct program *));
	p->untold = reserve(plan->capacity * UNTOLD_PER_RUN * sizeof *p->untold);
	p->loop = loop_open(p->capacity + 8);
	p->channel = (struct watch){.fd = CHANNEL, .ready = channel_ready};
	wheel_init(&p->wheel, p->now);
	if (p->programs == NULL || p->by_run == NULL || p->untold == NULL || p->loop == NULL)
		return -1;
	if (child_prepare(&p->what, plan->options) == -1)
		return -1;
	p->nothing = plan->instances != NULL ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
	if (plan->instances != NULL && p->nothing == -1)
		return -1;
	p->signals = (struct watch){.fd = signals_open(heard), .ready = signals_ready};
	if (p->signals.fd == -1 || loop_watch(p->loop, &p->signals, LOOP_READ) == -1)
		return -1;
	return loop_watch(p->loop, &p->channel, LOOP_READ);
}

_Noreturn void launcher_process(int channel, const struct launcher_plan *plan)
{
	struct process p = {.strays_at = CLOCK_NEVER};
	const struct launcher_head ready = {.type = LAUNCHER_READY};

	if (become_launcher(channel, plan) == -1 || open_all(&p, plan) == -1)
		_exit(1);
	tell(&ready, NULL, 0);
	while (!p.leaving || p.living > 0) {
		int64_t next = clock_earlier(wheel_next(&p.wheel), p.strays_at);
		int64_t wait = next == CLOCK_NEVER ? -1 : next > p.now ? next - p.now : 0;

		loop_wait(p.loop, wait, &p.now);
		if (signals_take(SIGCHLD))
			reap(&p);
		wheel_run(&p.wheel, p.now);
		if (p.now >= p.strays_at)
			look_for_strays(&p);
	}
	_exit(0);
}
