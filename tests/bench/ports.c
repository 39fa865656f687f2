/*
 * ports: what it costs to have a port for a while, by lastcall and in the usual ways.
 *
 * A cycle is what a test does that takes a port of its own: open it, have one request answered, be
 * rid of it again. Each way runs the same cycles one after another and prints one line of
 * name=value: cycles per second, and for opening, asking and closing alone the median and the 90th
 * of 100 in microseconds. A cycle that does not end as it should ends all of it with status 1.
 *
 *	ports idle CONTROL COUNT SERVICE
 *		opens and closes ports that nobody connects to, over one control connection
 *	ports cycle CONTROL COUNT SERVICE FILE
 *		leases a port, asks, closes it
 *	ports process COUNT FILE COMMAND ARG...
 *		starts COMMAND, waits until it answers, ends it by TERM and waits for that
 *	ports reload COUNT FILE CONFIG TEMPLATE COMMAND ARG...
 *		writes CONFIG from TEMPLATE, runs COMMAND, waits until the port answers; makes
 *		CONFIG empty, runs COMMAND, waits until the port refuses
 *	ports hold CONTROL COUNT SERVICE
 *		leases COUNT ports on addresses 127.x.y.z, prints the line, with one of them; at
 *		the end of standard input closes some of them by hand and the rest by hanging up,
 *		and prints a line again, with how long that took
 *	ports load COUNT CLIENTS FILE ADDR PID...
 *		COUNT connections by CLIENTS processes, one request each; prints the rate, and the
 *		CPU time of the processes PID per connection
 *
 * In ARG and TEMPLATE %p is the port of 127.0.0.1 that is meant. FILE is what GET has to bring,
 * under its own name; "-" stands for a service that echoes. Closing a leased port and opening
 * another are answered when they are done; in the other ways a try every 100 µs tells.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	ANSWER_MAX = 65536,
	ARGUMENTS_MAX = 64,
	CLIENTS_MAX = 64,
	COUNT_MAX = 10000000,
	HELD_MAX = 16000,
	LINE_MAX_BYTES = 4096,
	SAMPLE = 250, /* of the ports that are held, closed one by one */
	TRY_NS = 100 * 1000,
};
#define PATIENCE_NS 20000000000LL /* for what a server is to do */

static void stop_child(void);

static _Noreturn void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("ports: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	stop_child();
	exit(1);
}

static _Noreturn void usage(void)
{
	fprintf(stderr,
	    "usage: ports idle CONTROL COUNT SERVICE\n"
	    "       ports cycle CONTROL COUNT SERVICE FILE\n"
	    "       ports process COUNT FILE COMMAND ARG...\n"
	    "       ports reload COUNT FILE CONFIG TEMPLATE COMMAND ARG...\n"
	    "       ports hold CONTROL COUNT SERVICE\n"
	    "       ports load COUNT CLIENTS FILE ADDR PID...\n");
	exit(2);
}

/* The number in text, if it lies between 1 and most; else the usage text and exit 2. */
static size_t number(const char *text, long most)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end != '\0' || value < 1 || value > most)
		usage();
	return (size_t)value;
}

/* ---- time and figures ---- */

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void nap(void)
{
	const struct timespec delay = {.tv_nsec = TRY_NS};

	nanosleep(&delay, NULL);
}

/* Durations of one kind, in ns. */
struct series {
	const char *name;
	int64_t *all;
	size_t count;
};

static void series_init(struct series *series, const char *name, size_t most)
{
	*series = (struct series){.name = name, .all = calloc(most, sizeof *series->all)};
	if (series->all == NULL)
		fail("no memory for %zu figures", most);
}

/* Adds the time since begin. Returns now, for the next. */
static int64_t series_add(struct series *series, int64_t begin)
{
	int64_t now = now_ns();

	series->all[series->count++] = now - begin;
	return now;
}

static int compare(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

	return (a > b) - (a < b);
}

/* Prints it and frees it. */
static void series_print(struct series *series)
{
	qsort(series->all, series->count, sizeof *series->all, compare);
	printf(" %s=%.1f %s-90=%.1f", series->name, (double)series->all[series->count / 2] / 1000,
	    series->name, (double)series->all[series->count * 9 / 10] / 1000);
	free(series->all);
	series->all = NULL;
}

/* ---- a request to a port ---- */

/* What is asked for, and what is to come back. */
struct job {
	char request[512];
	size_t request_length;
	char *body;
	size_t body_length;
	int echoes;
};

/* Reads what a file says. Returns how much; at most size - 1, and a NUL behind it. */
static size_t slurp(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd == -1 ? -1 : read(fd, out, size - 1);

	if (got == -1)
		fail("%s: %s", path, strerror(errno));
	close(fd);
	out[got] = '\0';
	return (size_t)got;
}

static void job_init(struct job *job, const char *file)
{
	const char *name = strrchr(file, '/');

	*job = (struct job){.echoes = strcmp(file, "-") == 0, .body = malloc(ANSWER_MAX)};
	if (job->body == NULL)
		fail("no memory");
	if (job->echoes) {
		job->request_length = (size_t)snprintf(
		    job->request, sizeof job->request, "ports %ld\n", (long)getpid());
		job->body_length = job->request_length;
		memcpy(job->body, job->request, job->request_length);
		return;
	}
	job->body_length = slurp(file, job->body, ANSWER_MAX);
	job->request_length = (size_t)snprintf(job->request, sizeof job->request,
	    "GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
	    name != NULL ? name + 1 : file);
}

/* "127.0.0.1:80" as an address. */
static struct sockaddr_in address_of(const char *text)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	const char *colon = strrchr(text, ':');
	char host[64];

	if (colon == NULL || (size_t)(colon - text) >= sizeof host)
		fail("%s is no address and port", text);
	snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
	at.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, host, &at.sin_addr) != 1)
		fail("%s is no address and port", text);
	return at;
}

static int connect_to(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd == -1)
		fail("socket: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (const void *)at, sizeof *at) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Whether an answer is what the job wants: the file at its end, behind a head that says 200. */
static int is_right(const struct job *job, const char *answer, size_t length)
{
	if (length < job->body_length ||
	    memcmp(answer + length - job->body_length, job->body, job->body_length) != 0)
		return 0;
	return job->echoes ? length == job->body_length
			   : length > 12 && memcmp(answer + 8, " 200", 4) == 0;
}

/*
 * Has one request answered, to the end of the connection. Returns 0, or -1: nobody takes it.
 * abrupt: ends it by a reset then, which leaves nothing behind in the kernel's table of
 * connections.
 */
static int ask(const struct sockaddr_in *at, const struct job *job, int abrupt)
{
	const struct linger at_once = {.l_onoff = 1};
	static char answer[ANSWER_MAX * 2];
	size_t length = 0;
	ssize_t got;
	int fd = connect_to(at);

	if (fd == -1)
		return -1;
	if (send(fd, job->request, job->request_length, MSG_NOSIGNAL) !=
	    (ssize_t)job->request_length)
		goto lost;
	while ((got = recv(fd, answer + length, sizeof answer - length, 0)) > 0) {
		length += (size_t)got;
		/* An echo goes on for as long as we do. */
		if (job->echoes && length == job->body_length)
			shutdown(fd, SHUT_WR);
	}
	if (got == 0 && is_right(job, answer, length)) {
		if (abrupt)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		close(fd);
		return 0;
	}
lost:
	close(fd);
	return -1;
}

static void ask_or_fail(const struct sockaddr_in *at, const struct job *job)
{
	if (ask(at, job, 0) == -1)
		fail("127.0.0.1:%u does not answer: %s", ntohs(at->sin_port), strerror(errno));
}

/* ---- the control connection ---- */

struct control {
	int fd;
	char in[LINE_MAX_BYTES * 2];
	size_t length;
};

static void control_open(struct control *control, const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof at.sun_path)
		fail("%s: too long for a Unix socket", path);
	memcpy(at.sun_path, path, strlen(path) + 1);
	control->length = 0;
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control->fd == -1 || connect(control->fd, (const void *)&at, sizeof at) == -1)
		fail("%s: %s", path, strerror(errno));
}

/* Says a line and hears the one that answers it, which is "ok …". out: what is behind the "ok ". */
static void control_ask(struct control *control, char *out, size_t size, const char *format, ...)
{
	char line[LINE_MAX_BYTES], *end;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (send(control->fd, line, (size_t)length, MSG_NOSIGNAL) != length)
		fail("control: %s", strerror(errno));
	while ((end = memchr(control->in, '\n', control->length)) == NULL) {
		ssize_t got = recv(control->fd, control->in + control->length,
		    sizeof control->in - control->length, 0);

		if (got <= 0)
			fail("control: no answer to %s", line);
		control->length += (size_t)got;
	}
	*end = '\0';
	if (strncmp(control->in, "ok", 2) != 0)
		fail("control: %.*s: %s", length - 1, line, control->in);
	snprintf(out, size, "%s", control->in + (control->in[2] == ' ' ? 3 : 2));
	control->length -= (size_t)(end + 1 - control->in);
	memmove(control->in, end + 1, control->length);
}

/* Opens a port and tells what it is bound to. */
static void control_bind(struct control *control, const char *request, const char *host,
    const char *service, char *bound, size_t size)
{
	char *space;

	control_ask(control, bound, size, "%s %s:0 %s\n", request, host, service);
	space = strchr(bound, ' '); /* a URL follows */
	if (space != NULL)
		*space = '\0';
}

static void run_idle(const char *path, size_t count, const char *service)
{
	struct control control;
	struct series opens, closes;
	char bound[256], receipt[512];

	control_open(&control, path);
	series_init(&opens, "open", count);
	series_init(&closes, "close", count);
	for (size_t i = 0; i < count; i++) {
		int64_t at = now_ns();

		control_bind(&control, "open", "127.0.0.1", service, bound, sizeof bound);
		series_add(&opens, at);
		/* The workers have taken it, and everybody sleeps. */
		nap();
		at = now_ns();
		control_ask(&control, receipt, sizeof receipt, "close %s\n", bound);
		series_add(&closes, at);
		nap();
	}
	printf("count=%zu", count);
	series_print(&opens);
	series_print(&closes);
	putchar('\n');
	close(control.fd);
}

/* ---- cycles ---- */

struct cycles {
	struct job job;
	struct series opens, asks, closes;
	int64_t begin;
	size_t count;
};

static void cycles_begin(struct cycles *cycles, size_t count, const char *file)
{
	job_init(&cycles->job, file);
	series_init(&cycles->opens, "open", count);
	series_init(&cycles->asks, "ask", count);
	series_init(&cycles->closes, "close", count);
	cycles->count = count;
	cycles->begin = now_ns();
}

static void cycles_end(struct cycles *cycles)
{
	double seconds = (double)(now_ns() - cycles->begin) / 1e9;

	printf("count=%zu rate=%.2f", cycles->count, (double)cycles->count / seconds);
	series_print(&cycles->opens);
	series_print(&cycles->asks);
	series_print(&cycles->closes);
	putchar('\n');
	free(cycles->job.body);
}

static void run_cycle(const char *path, size_t count, const char *service, const char *file)
{
	struct control control;
	struct cycles cycles;
	char bound[256], receipt[512];

	control_open(&control, path);
	cycles_begin(&cycles, count, file);
	for (size_t i = 0; i < count; i++) {
		struct sockaddr_in at;
		int64_t time = now_ns();

		control_bind(&control, "lease", "127.0.0.1", service, bound, sizeof bound);
		time = series_add(&cycles.opens, time);
		at = address_of(bound);
		ask_or_fail(&at, &cycles.job);
		time = series_add(&cycles.asks, time);
		control_ask(&control, receipt, sizeof receipt, "close %s\n", bound);
		series_add(&cycles.closes, time);
	}
	cycles_end(&cycles);
	close(control.fd);
}

/* ---- the usual ways ---- */

static pid_t child = -1; /* the server or command that runs: it does not outlive us */

static void stop_child(void)
{
	if (child > 0)
		kill(child, SIGKILL);
}

static void interrupted(int signal)
{
	stop_child();
	_exit(128 + signal);
}

/* A port of 127.0.0.1 that was free a moment ago. */
static uint16_t free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t length = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1 || bind(fd, (const void *)&at, sizeof at) == -1 ||
	    getsockname(fd, (void *)&at, &length) == -1)
		fail("no free port: %s", strerror(errno));
	close(fd);
	return ntohs(at.sin_port);
}

/* Copies text with each %p replaced. */
static void fill_in(char *out, size_t size, const char *text, uint16_t port)
{
	size_t used = 0;

	for (; *text != '\0' && used + 8 < size; text++) {
		if (text[0] == '%' && text[1] == 'p') {
			used += (size_t)snprintf(out + used, size - used, "%u", port);
			text++;
		} else {
			out[used++] = *text;
		}
	}
	out[used] = '\0';
}

static void start(char **command, uint16_t port)
{
	static char words[ARGUMENTS_MAX][512];
	char *arguments[ARGUMENTS_MAX + 1];
	int count = 0;

	for (; command[count] != NULL && count < ARGUMENTS_MAX; count++) {
		fill_in(words[count], sizeof words[count], command[count], port);
		arguments[count] = words[count];
	}
	arguments[count] = NULL;
	child = fork();
	if (child == -1)
		fail("fork: %s", strerror(errno));
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);

		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		execvp(arguments[0], arguments);
		_exit(127);
	}
}

static int join(void)
{
	int status;

	while (waitpid(child, &status, 0) == -1) {
		if (errno != EINTR)
			fail("wait: %s", strerror(errno));
	}
	child = -1;
	return status;
}

static void run_command(char **command, uint16_t port)
{
	int status;

	start(command, port);
	status = join();
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail("%s: ended with status %#x", command[0], (unsigned)status);
}

/* Waits until the port takes a connection, or refuses one. */
static void wait_for(const struct sockaddr_in *at, int open)
{
	int64_t begin = now_ns();

	for (;;) {
		int fd = connect_to(at);

		if (fd >= 0)
			close(fd);
		if ((fd >= 0) == open)
			return;
		if (now_ns() - begin > PATIENCE_NS)
			fail("127.0.0.1:%u is still %s", ntohs(at->sin_port),
			    open ? "closed" : "open");
		nap();
	}
}

static void run_process(size_t count, const char *file, char **command)
{
	struct cycles cycles;

	cycles_begin(&cycles, count, file);
	for (size_t i = 0; i < count; i++) {
		struct sockaddr_in at = {
		    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
		uint16_t port = free_port();
		int64_t time = now_ns();

		at.sin_port = htons(port);
		start(command, port);
		wait_for(&at, 1);
		time = series_add(&cycles.opens, time);
		ask_or_fail(&at, &cycles.job);
		time = series_add(&cycles.asks, time);
		kill(child, SIGTERM);
		join();
		series_add(&cycles.closes, time);
	}
	cycles_end(&cycles);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t length = (ssize_t)strlen(text);

	if (fd == -1 || write(fd, text, (size_t)length) != length)
		fail("%s: %s", path, strerror(errno));
	close(fd);
}

static void run_reload(
    size_t count, const char *file, const char *config, const char *template, char **command)
{
	static char text[LINE_MAX_BYTES], filled[LINE_MAX_BYTES];
	struct cycles cycles;

	slurp(template, text, sizeof text);
	cycles_begin(&cycles, count, file);
	for (size_t i = 0; i < count; i++) {
		struct sockaddr_in at = {
		    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
		uint16_t port = free_port();
		int64_t time = now_ns();

		at.sin_port = htons(port);
		fill_in(filled, sizeof filled, text, port);
		write_file(config, filled);
		run_command(command, port);
		wait_for(&at, 1);
		time = series_add(&cycles.opens, time);
		ask_or_fail(&at, &cycles.job);
		time = series_add(&cycles.asks, time);
		write_file(config, "");
		run_command(command, port);
		wait_for(&at, 0);
		series_add(&cycles.closes, time);
	}
	cycles_end(&cycles);
}

/* ---- many listeners ---- */

/* How many listeners the server has, in any state. */
static size_t listeners_there(const char *path)
{
	struct control control;
	char line[LINE_MAX_BYTES];
	size_t count = 0;
	FILE *from;

	control_open(&control, path);
	from = fdopen(control.fd, "r");
	if (from == NULL || send(control.fd, "status\n", 7, MSG_NOSIGNAL) != 7)
		fail("control: %s", strerror(errno));
	while (fgets(line, sizeof line, from) != NULL && strncmp(line, "ok", 2) != 0)
		count += strncmp(line, "listener ", 9) == 0;
	fclose(from);
	return count;
}

/* Leases a port on each of so many addresses. bound: what they are. */
static void hold_all(struct control *control, const char *service, char (*bound)[32],
    struct series *opens, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char host[32], text[256];
		int64_t at = now_ns();

		snprintf(host, sizeof host, "127.%zu.%zu.%zu", 1 + i / 62500, 1 + i / 250 % 250,
		    1 + i % 250);
		control_bind(control, "lease", host, service, text, sizeof text);
		series_add(opens, at);
		snprintf(bound[i], sizeof bound[i], "%.31s", text);
	}
}

static void run_hold(const char *path, size_t count, const char *service)
{
	static char bound[HELD_MAX][32];
	char text[512], ignored[64];
	size_t sample = count < SAMPLE ? count : SAMPLE, before = listeners_there(path);
	struct control control;
	struct series opens, closes;
	int64_t begin;

	control_open(&control, path);
	series_init(&opens, "open", count);
	series_init(&closes, "close", sample);
	hold_all(&control, service, bound, &opens, count);
	printf("count=%zu address=%s", count, bound[count - 1]);
	series_print(&opens);
	putchar('\n');
	fflush(stdout);
	while (read(STDIN_FILENO, ignored, sizeof ignored) > 0)
		continue;
	for (size_t i = 0; i < sample; i++) {
		int64_t at = now_ns();

		control_ask(&control, text, sizeof text, "close %s\n", bound[i * (count / sample)]);
		series_add(&closes, at);
	}
	/* The rest goes with our connection, all of it at once. */
	begin = now_ns();
	close(control.fd);
	while (listeners_there(path) > before) {
		if (now_ns() - begin > PATIENCE_NS)
			fail("the listeners do not go away with their lease");
		nap();
	}
	printf("count=%zu rest=%.1f", sample, (double)(now_ns() - begin) / 1000);
	series_print(&closes);
	putchar('\n');
}

/* CPU time of the processes so far, in ns. */
static double cpu_ns(char **pids)
{
	double sum = 0;

	for (; *pids != NULL; pids++) {
		char path[64], text[128];

		snprintf(path, sizeof path, "/proc/%.20s/schedstat", *pids);
		slurp(path, text, sizeof text);
		sum += strtod(text, NULL);
	}
	return sum;
}

static void run_load(size_t count, size_t clients, const char *file, const char *where, char **pids)
{
	struct sockaddr_in at = address_of(where);
	struct job job;
	double cpu, seconds;
	int64_t begin;
	int status, failed = 0;

	job_init(&job, file);
	ask_or_fail(&at, &job);
	cpu = cpu_ns(pids);
	begin = now_ns();
	for (size_t i = 0; i < clients; i++) {
		pid_t pid = fork();

		if (pid == -1)
			fail("fork: %s", strerror(errno));
		if (pid > 0)
			continue;
		for (size_t n = i; n < count; n += clients) {
			if (ask(&at, &job, 1) == -1)
				_exit(1);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		failed |= status;
	seconds = (double)(now_ns() - begin) / 1e9;
	if (failed)
		fail("%s: not every connection was answered", where);
	printf("count=%zu rate=%.1f cpu=%.2f\n", count, (double)count / seconds,
	    (cpu_ns(pids) - cpu) / (double)count / 1000);
	free(job.body);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, interrupted);
	signal(SIGTERM, interrupted);
	signal(SIGHUP, interrupted);
	if (strcmp(what, "idle") == 0 && argc == 5)
		run_idle(argv[2], number(argv[3], COUNT_MAX), argv[4]);
	else if (strcmp(what, "cycle") == 0 && argc == 6)
		run_cycle(argv[2], number(argv[3], COUNT_MAX), argv[4], argv[5]);
	else if (strcmp(what, "process") == 0 && argc >= 5)
		run_process(number(argv[2], COUNT_MAX), argv[3], argv + 4);
	else if (strcmp(what, "reload") == 0 && argc >= 7)
		run_reload(number(argv[2], COUNT_MAX), argv[3], argv[4], argv[5], argv + 6);
	else if (strcmp(what, "hold") == 0 && argc == 5)
		run_hold(argv[2], number(argv[3], HELD_MAX), argv[4]);
	else if (strcmp(what, "load") == 0 && argc >= 7)
		run_load(number(argv[2], COUNT_MAX), number(argv[3], CLIENTS_MAX), argv[4], argv[5],
		    argv + 6);
	else
		usage();
	return 0;
}
