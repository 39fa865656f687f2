/* Programs and their start; see child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "descriptor.h"
#include "directive.h"
#include "system.h"

extern char **environ;

/* What is open in a program is what it opens: few programs expect more, and some (those that use
 * select(2)) break with more. */
#define FILES_INITIAL 1024

/* ---- limits: words in pairs, each read as a directive of that name would be ---- */

struct limit_kind {
	struct directive row;
	int resource; /* of setrlimit(2) */
	int64_t unit; /* of the value, in what setrlimit counts */
};

#define MOST(kind) ((kind) == DIRECTIVE_DURATION ? INT64_C(365) * 86400000 : INT64_C(1) << 50)
#define LIMIT(text, kind, least, what, per)                                                        \
	{                                                                                          \
		{.name = text, .type = kind, .min = least, .max = MOST(kind)}, what, per           \
	}

static const struct limit_kind limit_kinds[CHILD_LIMITS] = {
    LIMIT("cpu", DIRECTIVE_DURATION, 1000, RLIMIT_CPU, 1000),
    LIMIT("memory", DIRECTIVE_SIZE, 65536, RLIMIT_AS, 1),
    LIMIT("files", DIRECTIVE_NUMBER, 3, RLIMIT_NOFILE, 1),
#ifdef RLIMIT_NPROC
    LIMIT("processes", DIRECTIVE_NUMBER, 1, RLIMIT_NPROC, 1),
#else
    LIMIT("processes", DIRECTIVE_NUMBER, 1, -1, 1),
#endif
    LIMIT("file-size", DIRECTIVE_SIZE, 0, RLIMIT_FSIZE, 1),
    LIMIT("core", DIRECTIVE_SIZE, 0, RLIMIT_CORE, 1),
};

/* Reads the pairs. Returns 0, or -1 with why. */
static int read_limits(char *const *words, int64_t *limits, char *why, size_t size)
{
	for (size_t i = 0; i < CHILD_LIMITS; i++)
		limits[i] = -1;
	for (; words != NULL && *words != NULL; words += 2) {
		const char *value = words[1];
		size_t i = 0;

		while (i < CHILD_LIMITS && strcmp(limit_kinds[i].row.name, words[0]) != 0)
			i++;
		if (i == CHILD_LIMITS) {
			snprintf(why, size,
			    "unknown limit \"%.40s\"; it is one of cpu, memory, files, processes, "
			    "file-size or core",
			    words[0]);
			return -1;
		}
		if (value == NULL) {
			snprintf(why, size, "limit %s needs a value", words[0]);
			return -1;
		}
		if (limit_kinds[i].resource == -1) {
			snprintf(why, size, "this system has no limit of %s", words[0]);
			return -1;
		}
		if (limits[i] != -1) {
			snprintf(why, size, "limit %s is given twice", words[0]);
			return -1;
		}
		if (directive_set(&limit_kinds[i].row, &limits[i], &value, 1, NULL, why, size) ==
		    -1)
			return -1;
		/* A part of a second is a second. */
		limits[i] = (limits[i] + limit_kinds[i].unit - 1) / limit_kinds[i].unit;
	}
	return 0;
}

/* ---- the environment ---- */

/* What it is told of its connection has these names. */
static bool is_ours(const char *name, size_t length)
{
	static const char *const prefixes[] = {
	    "TCP", "IPC", "UNIXREMOTE", "LISTEN_", "NOTIFY_SOCKET", NULL};

	if (length == 5 && memcmp(name, "PROTO", 5) == 0)
		return true;
	for (const char *const *prefix = prefixes; *prefix != NULL; prefix++) {
		if (strncmp(name, *prefix, strlen(*prefix)) == 0)
			return true;
	}
	return false;
}

static const char *check_environment(char *const *words, char *why, size_t size)
{
	for (; words != NULL && *words != NULL; words++) {
		size_t length = strcspn(*words, "=");

		if (length == 0 || (*words)[length] == '\0') {
			snprintf(why, size, "\"%.80s\" is not NAME=VALUE", *words);
			return why;
		}
		if (is_ours(*words, length)) {
			snprintf(why, size,
			    "\"%.80s\" begins with what a program is told of its connection",
			    *words);
			return why;
		}
	}
	return NULL;
}

static const char *check_pass(char *const *words, char *why, size_t size)
{
	for (; words != NULL && *words != NULL; words++) {
		if (**words == '\0' || strchr(*words, '=') != NULL) {
			snprintf(why, size, "\"%.80s\" is not the name of a variable", *words);
			return why;
		}
		if (is_ours(*words, strlen(*words))) {
			snprintf(why, size,
			    "\"%.80s\" begins with what a program is told of its connection",
			    *words);
			return why;
		}
	}
	return NULL;
}

static size_t count_words(char *const *words)
{
	size_t count = 0;

	while (words != NULL && words[count] != NULL)
		count++;
	return count;
}

/* The last one of that name in environment, or NULL. */
static char *find_variable(char *const *environment, const char *name, size_t length)
{
	char *found = NULL;

	for (; environment != NULL && *environment != NULL; environment++) {
		if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
			found = *environment;
	}
	return found;
}

/* Where a program without a slash is looked for: as its own environment says. */
static const char *path_of(const struct child_options *options)
{
	const char *path = find_variable(options->environment, "PATH", 4);

	for (char *const *pass = options->pass; path == NULL && pass != NULL && *pass; pass++) {
		if (strcmp(*pass, "PATH") == 0)
			path = find_variable(environ, "PATH", 4);
	}
	return path != NULL ? path + 5 : CHILD_PATH;
}

static int make_environment(struct child_program *program, const struct child_options *options)
{
	static char path[] = "PATH=" CHILD_PATH;
	size_t most = count_words(options->environment) + count_words(options->pass) + 1;
	size_t n = 0;

	program->variables = calloc(most + CHILD_VARIABLES + 1, sizeof *program->variables);
	if (program->variables == NULL)
		return -1;
	/* What is set comes before what is passed on, and of the same name the last. */
	for (char *const *at = options->environment; at != NULL && *at != NULL; at++) {
		size_t length = strcspn(*at, "=");

		if (find_variable(program->variables, *at, length) == NULL)
			program->variables[n++] = find_variable(options->environment, *at, length);
	}
	for (char *const *at = options->pass; at != NULL && *at != NULL; at++) {
		char *passed = find_variable(environ, *at, strlen(*at));

		if (passed != NULL && find_variable(program->variables, *at, strlen(*at)) == NULL)
			program->variables[n++] = passed;
	}
	if (find_variable(program->variables, "PATH", 4) == NULL)
		program->variables[n++] = path;
	program->fixed = n;
	return 0;
}

/* ---- finding the program ---- */

/* Whether a file can be executed. Returns 0, or -1 with errno. */
static int judge_file(const char *path)
{
	struct stat info;

	if (stat(path, &info) == -1)
		return -1;
	if (S_ISREG(info.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0)
		return 0;
	errno = S_ISDIR(info.st_mode) ? EISDIR : EACCES;
	return -1;
}

/* Finds the program as a shell would. Returns 0, or -1 with errno. */
static int find_program(const struct child_options *options, char *out, size_t size)
{
	const char *name = options->command[0], *folder = path_of(options);
	int error = ENOENT;

	if (strchr(name, '/') != NULL) {
		snprintf(out, size, "%s", name);
		return judge_file(name);
	}
	for (;;) {
		size_t length = strcspn(folder, ":");
		int n = snprintf(out, size, "%.*s/%s", (int)length, folder, name);

		/* An empty folder is the current one, in which no server looks. */
		if (length > 0 && n > 0 && (size_t)n < size) {
			if (judge_file(out) == 0)
				return 0;
			if (errno != ENOENT && errno != ENOTDIR)
				error = errno;
		}
		if (folder[length] == '\0')
			break;
		folder += length + 1;
	}
	errno = error;
	return -1;
}

/* ---- what the service asks ---- */

const char *child_check(const struct child_options *options, const char **directive)
{
	static char why[DIRECTIVE_WHY];
	int64_t limits[CHILD_LIMITS];

	*directive = "command";
	if (options->command == NULL)
		return "a command is required, as in \"command git daemon --inetd;\"";
	*directive = "environment";
	if (check_environment(options->environment, why, sizeof why) != NULL)
		return why;
	*directive = "pass";
	if (check_pass(options->pass, why, sizeof why) != NULL)
		return why;
	*directive = "limit";
	return read_limits(options->limits, limits, why, sizeof why) == -1 ? why : NULL;
}

/* What is wrong with a program. Returns why. */
static const char *blame_program(
    const struct child_options *options, int error, const char *whom, char *why, size_t size)
{
	const char *name = options->command[0];

	if (error == ENOENT && strchr(name, '/') == NULL)
		snprintf(
		    why, size, "program \"%.200s\": there is none in %s", name, path_of(options));
	else if (error == EACCES)
		snprintf(why, size, "program \"%.200s\": it is not executable%s", name, whom);
	else
		snprintf(why, size, "program \"%.200s\": %s", name,
		    error == ENOENT       ? "there is no such file"
			: error == EISDIR ? "it is a folder"
					  : strerror(error));
	return why;
}

#define TRY_MS 1000 /* for a look at a program as its user */
#define IN_FOLDER 128 /* added to the error: it is that of entering the folder */

/* Enters the folder and finds the program. Returns 0 or what is wrong, which is less than 256. */
static int try(const struct child_options *options)
{
	char path[PATH_MAX];

	/* A program with a relative path is one of where we are. */
	if (find_program(options, path, sizeof path) == -1)
		return errno % IN_FOLDER;
	if (options->directory != NULL && chdir(options->directory) == -1)
		return errno % IN_FOLDER + IN_FOLDER;
	return 0;
}

/*
 * The same as somebody else, in a process of its own, which tells through a pipe. Only its
 * effective ids change, so that user may not stop it. Where it cannot be had, or does not come to
 * an end (a file system that does not answer), it is found out when the program is started, as is
 * what changes until then.
 */
static int try_as(const struct account *account, const struct child_options *options)
{
	unsigned char wrong = 0;
	struct pollfd told = {.events = POLLIN};
	int ends[2];
	pid_t pid;

	if (fd_pipe(ends) == -1)
		return 0;
	pid = fork();
	if (pid == 0) {
		wrong = account_pose(account) == 0 ? (unsigned char)try(options) : 0;
		_exit(write(ends[1], &wrong, 1) != 1);
	}
	fd_close(&ends[1]);
	told.fd = ends[0];
	while (pid > 0 && poll(&told, 1, TRY_MS) == -1 && errno == EINTR)
		continue;
	if (pid > 0 && (told.revents == 0 || read(ends[0], &wrong, 1) != 1))
		wrong = 0;
	fd_close(&ends[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		/* One that cannot be killed now is reaped with the workers. */
		for (int tries = 0; tries < 100 && waitpid(pid, NULL, WNOHANG) == 0; tries++)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return wrong;
}

const char *child_look(const struct child_options *options, const struct child_user *user,
    const struct account *workers, const char **directive)
{
	static char why[PATH_MAX + 256];
	char path[PATH_MAX], whom[128] = "";
	struct account own;
	int wrong;

	*directive = "user";
	if (user->name != NULL) {
		if (account_find(&own, user->name, why, sizeof why) == -1)
			return why;
		workers = &own;
	}
	*directive = "command";
	if (options->command == NULL)
		return NULL;
	if (find_program(options, path, sizeof path) == -1)
		return blame_program(options, errno, whom, why, sizeof why);
	if (geteuid() != 0 || workers == NULL || workers->uid == 0)
		return NULL;
	wrong = try_as(workers, options);
	snprintf(whom, sizeof whom, " for user \"%s\"", workers->user);
	if (wrong < IN_FOLDER)
		return wrong == 0 ? NULL : blame_program(options, wrong, whom, why, sizeof why);
	*directive = "directory";
	snprintf(why, sizeof why, "directory \"%.200s\": %s%s", options->directory,
	    strerror(wrong - IN_FOLDER), whom);
	return why;
}

int child_user_prepare(struct child_user *user, const struct child_options *options,
    const struct account *workers, char *why, size_t size)
{
	const char *directive, *wrong = child_look(options, user, workers, &directive);

	if (wrong != NULL) {
		snprintf(why, size, "%s", wrong);
		return -1;
	}
	if (user->name == NULL)
		return 0;
	if (account_find(&user->account, user->name, why, size) == -1)
		return -1;
	user->changes = geteuid() == 0;
	if (user->changes || user->account.uid == geteuid())
		return 0;
	snprintf(why, size, "user \"%s\": only root can run programs as somebody else", user->name);
	return -1;
}

int child_prepare(struct child_program *program, const struct child_options *options)
{
	/* Those that a server ignores, or that whoever started it did. */
	static int ignored[65];
	char why[DIRECTIVE_WHY];
	struct sigaction how;
	size_t n = 0;

	for (int signal = 1; signal < 65; signal++) {
		if (sigaction(signal, NULL, &how) == 0 && how.sa_handler == SIG_IGN)
			ignored[n++] = signal;
	}
	ignored[n] = 0;
	*program = (struct child_program){
	    .command = options->command,
	    .directory = options->directory,
	    .umask = options->umask,
	    .ignored = ignored,
	    .listen_pid = "LISTEN_PID=",
	};
	read_limits(options->limits, program->limits, why, sizeof why);
	return make_environment(program, options);
}

int child_find(struct child_program *program, const struct child_options *options)
{
	return find_program(options, program->path, sizeof program->path);
}

/* ---- the start: from here on in a child that has our memory, and only what is allowed there ----
 */

static int set_limit(int resource, int64_t value)
{
	struct rlimit limit = {.rlim_cur = (rlim_t)value, .rlim_max = (rlim_t)value}, before;

	/* A second between the signal that says why, and the one that cannot be caught. */
	if (resource == RLIMIT_CPU && getrlimit(resource, &before) == 0 &&
	    (before.rlim_max == RLIM_INFINITY || before.rlim_max > limit.rlim_max))
		limit.rlim_max++;
	return setrlimit(resource, &limit);
}

static int set_limits(const struct child_program *program)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
	    (files.rlim_cur == RLIM_INFINITY || files.rlim_cur > FILES_INITIAL)) {
		files.rlim_cur = FILES_INITIAL;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	for (size_t i = 0; i < CHILD_LIMITS; i++) {
		if (program->limits[i] >= 0 &&
		    set_limit(limit_kinds[i].resource, program->limits[i]) == -1)
			return -1;
	}
	return 0;
}

/* Puts its sockets at 3 and from there on; a descriptor that is in the way of another is moved
 * first. Returns 0, or -1 with errno. */
static int place_sockets(const int *sockets, size_t count)
{
	int from[CHILD_SOCKETS], end = STDERR_FILENO + 1 + (int)count;

	for (size_t i = 0; i < count; i++) {
		from[i] = sockets[i] < end ? fcntl(sockets[i], F_DUPFD_CLOEXEC, end) : sockets[i];
		if (from[i] == -1)
			return -1;
	}
	for (size_t i = 0; i < count; i++) {
		if (dup2(from[i], STDERR_FILENO + 1 + (int)i) == -1)
			return -1;
	}
	return 0;
}

/* Writes our number behind the "=", as the program that is told it expects to be that process. */
static void write_pid(char *text)
{
	char digits[16];
	size_t n = 0;

	for (long pid = (long)getpid(); pid > 0; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	text += sizeof "LISTEN_PID=" - 1;
	while (n > 0)
		*text++ = digits[--n];
	*text = '\0';
}

/* Becomes the program. Returns what failed, with errno. */
static const char *become(
    struct child_program *program, const struct child_descriptors *descriptors, pid_t parent)
{
	const struct sigaction usual = {.sa_handler = SIG_DFL};
	sigset_t none;

	setpgid(0, 0);
	system_end_with_parent();
	if (getppid() != parent)
		_exit(127); /* it died before that */
	if (dup2(descriptors->input, STDIN_FILENO) == -1 ||
	    dup2(descriptors->output, STDOUT_FILENO) == -1 ||
	    dup2(descriptors->errors, STDERR_FILENO) == -1 ||
	    place_sockets(descriptors->sockets, descriptors->sockets_count) == -1)
		return "descriptors";
	if (descriptors->sockets_count > 0)
		write_pid(program->listen_pid);
	if (program->directory != NULL && chdir(program->directory) == -1)
		return program->directory;
	if (program->umask >= 0)
		umask((mode_t)program->umask);
	if (set_limits(program) == -1)
		return "limit";
	for (const int *at = program->ignored; *at != 0; at++)
		sigaction(*at, &usual, NULL);
	sigaction(SIGCHLD, &usual, NULL);
	system_usual_signals();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(program->path, program->command, program->variables);
	return program->path;
}

pid_t child_start(struct child_program *program, const struct child_descriptors *descriptors,
    char *const *variables, size_t count, const char **what)
{
	/* Written by the child, which has our memory until it is the program. */
	const char *volatile failed = NULL;
	volatile int error = 0;
	pid_t parent = getpid(), pid;
	sigset_t all, old;

	memcpy(program->variables + program->fixed, variables, count * sizeof *variables);
	count += program->fixed;
	if (descriptors->sockets_count > 0)
		program->variables[count++] = program->listen_pid;
	program->variables[count] = NULL;
	/* A handler of ours that ran in the child would write to our memory. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	pid = vfork();
	if (pid == 0) {
		failed = become(program, descriptors, parent);
		error = errno;
		_exit(127);
	}
	if (pid == -1) {
		failed = "fork";
		error = errno;
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (failed == NULL)
		return pid;
	if (pid > 0) {
		while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
			continue;
	}
	*what = failed;
	errno = error;
	return -1;
}
