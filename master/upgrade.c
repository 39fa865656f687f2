/* Replaces the program of a server that runs; see upgrade.h. */
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "control.h"
#include "descriptor.h"
#include "pool.h"
#include "reload.h"
#include "setup.h"
#include "signals.h"
#include "system.h"

#define REHEARSAL_MS 60000 /* at most */
#define ENDING_MS 1000 /* from TERM to KILL, for one that takes longer */
#define TOLD_MAX 65536 /* bytes of what a rehearsal tells */

extern char **environ;

static void set_state(struct upgrade *upgrade, enum upgrade_state state)
{
	upgrade->state = state;
}

/* ---- what is run ---- */

static bool is_file(const char *path, struct stat *info)
{
	return stat(path, info) == 0 && S_ISREG(info->st_mode);
}

/* Looks along PATH, as execvp(3) does. Returns whether out was set. */
static bool search(const char *name, char *out, size_t size)
{
	const char *at = getenv("PATH");
	struct stat info;

	while (at != NULL && *at != '\0') {
		size_t length = strcspn(at, ":");

		if (snprintf(out, size, "%.*s/%s", (int)length, at, name) < (int)size &&
		    *at == '/' && is_file(out, &info) && access(out, X_OK) == 0)
			return true;
		at += length + (at[length] == ':');
	}
	return false;
}

/* The path that the name stands for, absolute. Returns whether out was set. */
static bool resolve(const char *name, char *out, size_t size)
{
	char folder[UPGRADE_PATH];

	if (strchr(name, '/') == NULL)
		return search(name, out, size);
	if (name[0] == '/')
		return snprintf(out, size, "%s", name) < (int)size;
	return getcwd(folder, sizeof folder) != NULL &&
	    snprintf(out, size, "%s/%s", folder, name) < (int)size;
}

void invocation_find(struct invocation *invocation, char *const *argv)
{
	struct stat running, named;
	bool found = resolve(argv[0], invocation->program, sizeof invocation->program);
	bool known = system_program(&running);

	invocation->argv = argv;
	/* The name is what the caller says; what runs is what the system says, where it does. */
	if (found && is_file(invocation->program, &named) &&
	    (!known || (named.st_dev == running.st_dev && named.st_ino == running.st_ino)))
		return;
	if (!system_program_path(invocation->program, sizeof invocation->program)) {
		invocation->error = errno != 0 ? errno : ENOENT;
		invocation->program[0] = '\0';
	}
}

/* ---- the end of one ---- */

static void clear(struct upgrade *upgrade)
{
	if (upgrade->result.fd >= 0)
		loop_watch(upgrade->loop, &upgrade->result, 0);
	fd_close(&upgrade->result.fd);
	free(upgrade->told);
	upgrade->told = NULL;
	upgrade->told_length = 0;
	set_state(upgrade, UPGRADE_IDLE);
}

static void fail(struct upgrade *upgrade, bool wrong, const char *lines, const char *why)
{
	const struct control_reload told = {.wrong = wrong, .lines = lines, .why = why};

	for (const char *at = lines; *at != '\0';) {
		int length = (int)strcspn(at, "\n");

		log_write(upgrade->log, LOG_ERROR, "%.*s", length, at);
		at += length + (at[length] == '\n');
	}
	log_write(upgrade->log, LOG_ERROR, "upgrade: %s; going on as before", why);
	control_upgraded(upgrade->parts.control, 0, &told);
}

/* Has the rehearsal end. */
static void end_rehearsal(struct upgrade *upgrade, int64_t now)
{
	if (upgrade->child == 0) {
		clear(upgrade);
		return;
	}
	kill(-upgrade->child, SIGTERM);
	set_state(upgrade, UPGRADE_ENDING);
	upgrade->deadline = now + ENDING_MS;
}

int64_t upgrade_end(struct upgrade *upgrade, int64_t now)
{
	if (upgrade->state != UPGRADE_ENDING)
		return CLOCK_NEVER;
	if (upgrade->child == 0) {
		clear(upgrade);
		return now;
	}
	if (now < upgrade->deadline)
		return upgrade->deadline;
	kill(-upgrade->child, SIGKILL);
	upgrade->deadline = CLOCK_NEVER;
	return CLOCK_NEVER;
}

void upgrade_abandon(struct upgrade *upgrade, int64_t now)
{
	if (upgrade->asked || (upgrade->state != UPGRADE_IDLE && upgrade->state != UPGRADE_ENDING))
		fail(upgrade, false, "", "the server is stopping");
	upgrade->asked = false;
	if (upgrade->state != UPGRADE_ENDING)
		end_rehearsal(upgrade, now);
}

/* ---- the rehearsal ---- */

static void result_ready(struct watch *watch, unsigned events)
{
	struct upgrade *upgrade = container_of(watch, struct upgrade, result);
	ssize_t got;

	(void)events;
	do {
		got = read(watch->fd, upgrade->told + upgrade->told_length,
		    TOLD_MAX - upgrade->told_length);
		if (got > 0)
			upgrade->told_length += (size_t)got;
	} while (got > 0 && upgrade->told_length < TOLD_MAX);
	if (got == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	/* Its end, or more than anybody needs to know. */
	loop_watch(upgrade->loop, watch, 0);
	fd_close(&watch->fd);
}

void upgrade_reaped(struct upgrade *upgrade, pid_t pid, int status)
{
	if (pid != upgrade->child || upgrade->child == 0)
		return;
	/* What it has left behind has copies of all that it was given. */
	kill(-pid, SIGKILL);
	upgrade->child = 0;
	upgrade->status = status;
}

/* Says in the environment what the program that is run next is to do. Returns 0, or -1 with errno.
 */
static int set_task(const char *task, int state, int result)
{
	char value[96];

	snprintf(value, sizeof value, result >= 0 ? "%s:%ld:%d:%d" : "%s:%ld:%d", task,
	    (long)getpid(), state, result);
	return setenv(UPGRADE_VARIABLE, value, 1);
}

/* In the child. */
static void run_rehearsal(
    const struct upgrade *upgrade, const struct carry_out *out, int state, int result)
{
	const struct invocation *invocation = upgrade->invocation;

	/* It holds copies of what the workers watch for the master's end, and so does whatever it
	 * starts. */
	setpgid(0, 0);
	system_end_with_parent();
	alarm(REHEARSAL_MS / 1000 + 1);
	if (carry_keep(out, state, true) == 0 && fd_set_cloexec(result, false) == 0 &&
	    set_task("rehearse", state, result) == 0)
		execve(invocation->program, invocation->argv, environ);
	dprintf(result, "failed cannot run %s: %s\n", invocation->program, strerror(errno));
	_exit(STATUS_FAILED);
}

/* Writes all that is to be carried over. Returns a descriptor of it, or -1 with errno. */
static int leave(struct upgrade *upgrade, struct carry_out *out)
{
	int fd;

	carry_open(out);
	state_leave(out, &upgrade->parts);
	fd = carry_finish(out);
	if (fd == -1) {
		int error = errno;

		carry_release(out);
		errno = error;
	}
	return fd;
}

/* Returns 0, or -1 with errno. */
static int fork_rehearsal(struct upgrade *upgrade, const struct carry_out *out, int state)
{
	int ends[2];
	sigset_t old;

	if (fd_pipe(ends) == -1)
		return -1;
	signals_block(&old);
	upgrade->child = fork();
	if (upgrade->child == 0) {
		static const int none[] = {0};

		signals_detach(none);
		signals_unblock(&old);
		fd_close(&ends[0]);
		run_rehearsal(upgrade, out, state, ends[1]);
	}
	if (upgrade->child > 0)
		setpgid(upgrade->child, upgrade->child); /* whoever comes first */
	signals_unblock(&old);
	fd_close(&ends[1]);
	if (upgrade->child == -1) {
		upgrade->child = 0;
		fd_close(&ends[0]);
		return -1;
	}
	upgrade->result = (struct watch){.fd = ends[0], .ready = result_ready};
	return loop_watch(upgrade->loop, &upgrade->result, LOOP_READ);
}

static void rehearse(struct upgrade *upgrade, int64_t now)
{
	struct carry_out out;
	char why[512];
	int state;

	upgrade->asked = false;
	if (upgrade->invocation->program[0] == '\0') {
		snprintf(why, sizeof why, "the program that runs was not found: %s",
		    strerror(upgrade->invocation->error));
		fail(upgrade, false, "", why);
		return;
	}
	/* What it is by now is compared when it is executed; that it is there the rehearsal finds
	 * out. */
	if (stat(upgrade->invocation->program, &upgrade->file) == -1)
		upgrade->file = (struct stat){0};
	upgrade->told = calloc(1, TOLD_MAX + 1);
	state = upgrade->told != NULL ? leave(upgrade, &out) : -1;
	set_state(upgrade, UPGRADE_REHEARSING);
	upgrade->deadline = now + REHEARSAL_MS;
	if (state == -1 || fork_rehearsal(upgrade, &out, state) == -1) {
		snprintf(why, sizeof why, "cannot begin: %s", strerror(errno));
		end_rehearsal(upgrade, now);
		fail(upgrade, false, "", why);
	} else {
		log_write(upgrade->log, LOG_INFO, "upgrade: rehearsing %s in pid %ld",
		    upgrade->invocation->program, (long)upgrade->child);
	}
	if (state != -1)
		carry_release(&out);
	fd_close(&state);
}

/* ---- the real one ---- */

/* Goes on in the new program. Returns only when that cannot be, with errno; or with 0: a signal
 * came, which is to be heard first. */
static int take_over(struct upgrade *upgrade)
{
	const struct invocation *invocation = upgrade->invocation;
	struct carry_out out;
	sigset_t old;
	int state = leave(upgrade, &out), error = 0;

	if (state == -1)
		return errno;
	/* What comes from here on waits, for no handler is there in the new program at first. */
	signals_block(&old);
	if (!signals_came()) {
		if (carry_keep(&out, state, true) == 0 && set_task("resume", state, -1) == 0)
			execve(invocation->program, invocation->argv, environ);
		error = errno;
		carry_keep(&out, state, false);
		unsetenv(UPGRADE_VARIABLE);
	}
	signals_unblock(&old);
	carry_release(&out);
	fd_close(&state);
	return error;
}

/* What the rehearsal came to. Returns true when it can be done. */
static bool judge(struct upgrade *upgrade)
{
	char *first = upgrade->told, *end = strchr(first, '\n');
	const char *lines = end != NULL ? end + 1 : "";
	char why[512];
	bool wrong = strncmp(first, "wrong ", 6) == 0;

	if (end != NULL)
		*end = '\0';
	if (WIFSIGNALED(upgrade->status))
		snprintf(why, sizeof why, "%.300s was killed by signal %d (%s) in the rehearsal",
		    upgrade->invocation->program, WTERMSIG(upgrade->status),
		    strsignal(WTERMSIG(upgrade->status)));
	else if (end != NULL && strncmp(first, "ok ", 3) == 0 &&
	    WEXITSTATUS(upgrade->status) == STATUS_DONE)
		return true;
	else if (end != NULL && (wrong || strncmp(first, "failed ", 7) == 0))
		snprintf(why, sizeof why, "%.500s", strchr(first, ' ') + 1);
	else
		snprintf(why, sizeof why,
		    "%.300s exited with status %d in the rehearsal, and did not say that it can "
		    "take over",
		    upgrade->invocation->program, WEXITSTATUS(upgrade->status));
	fail(upgrade, wrong, lines, why);
	return false;
}

static int64_t step_rehearsal(struct upgrade *upgrade, int64_t now)
{
	if (upgrade->child > 0 && now >= upgrade->deadline) {
		fail(upgrade, false, "", "the rehearsal took longer than a minute");
		end_rehearsal(upgrade, now);
		return now;
	}
	if (upgrade->child > 0)
		return upgrade->deadline;
	/* All that it told is there. */
	if (upgrade->result.fd >= 0)
		result_ready(&upgrade->result, LOOP_READ);
	if (!judge(upgrade)) {
		clear(upgrade);
		return now;
	}
	log_write(upgrade->log, LOG_NOTICE, "upgrade: %s takes over, version %s",
	    upgrade->invocation->program, upgrade->told + strlen("ok "));
	set_state(upgrade, UPGRADE_REHEARSED);
	return now;
}

/* Whether the program on disk is the one that was rehearsed. */
static bool is_rehearsed(const struct upgrade *upgrade)
{
	const struct stat *was = &upgrade->file;
	struct stat is;

	return stat(upgrade->invocation->program, &is) == 0 && is.st_dev == was->st_dev &&
	    is.st_ino == was->st_ino && is.st_size == was->st_size &&
	    memcmp(&is.st_mtim, &was->st_mtim, sizeof is.st_mtim) == 0 &&
	    memcmp(&is.st_ctim, &was->st_ctim, sizeof is.st_ctim) == 0;
}

static int64_t step_rehearsed(struct upgrade *upgrade, int64_t now)
{
	char why[512];
	int error;

	if (!is_rehearsed(upgrade)) {
		log_write(upgrade->log, LOG_NOTICE,
		    "upgrade: %s was replaced in the meantime: rehearsing once more",
		    upgrade->invocation->program);
		clear(upgrade);
		upgrade->asked = true;
		return now;
	}
	error = take_over(upgrade);
	if (error == 0)
		return now;
	snprintf(why, sizeof why, "cannot run %.300s: %s", upgrade->invocation->program,
	    strerror(error));
	clear(upgrade);
	fail(upgrade, false, "", why);
	return now;
}

bool upgrade_ask(struct upgrade *upgrade)
{
	if (upgrade->invocation == NULL || upgrade->invocation->argv == NULL)
		return false;
	if (upgrade->state == UPGRADE_IDLE)
		upgrade->asked = true;
	return true;
}

bool upgrade_is_busy(const struct upgrade *upgrade)
{
	return upgrade->state != UPGRADE_IDLE;
}

int64_t upgrade_step(struct upgrade *upgrade, int64_t now)
{
	if (upgrade->state == UPGRADE_REHEARSING)
		return step_rehearsal(upgrade, now);
	if (upgrade->state == UPGRADE_REHEARSED)
		return step_rehearsed(upgrade, now);
	if (upgrade->state == UPGRADE_ENDING)
		return upgrade_end(upgrade, now);
	if (!upgrade->asked || !reload_is_idle(upgrade->parts.reload))
		return CLOCK_NEVER;
	rehearse(upgrade, now);
	return now;
}

/* ---- in the new program ---- */

/* Reads ":N" from where *text points to. */
static bool read_number(const char **text, long *number)
{
	char *end;

	if (**text != ':')
		return false;
	*number = strtol(*text + 1, &end, 10);
	if (end == *text + 1 || *number < 0 || *number > INT32_MAX)
		return false;
	*text = end;
	return true;
}

/* The same for a descriptor, which closes at an execve from here on. */
static bool read_descriptor(const char **text, int *fd)
{
	long number;

	if (!read_number(text, &number) || fd_set_cloexec((int)number, true) == -1)
		return false;
	*fd = (int)number;
	return true;
}

int inheritance_open(struct inheritance *inheritance)
{
	const char *task = getenv(UPGRADE_VARIABLE), *at;
	int state = -1;
	long pid = 0;
	bool good;

	*inheritance = (struct inheritance){.result = -1};
	if (task == NULL)
		return 0;
	at = strchr(task, ':');
	inheritance->rehearses = strncmp(task, "rehearse:", 9) == 0;
	good = at != NULL && (inheritance->rehearses || strncmp(task, "resume:", 7) == 0) &&
	    read_number(&at, &pid) && read_descriptor(&at, &state) &&
	    (!inheritance->rehearses || read_descriptor(&at, &inheritance->result)) && *at == '\0';
	unsetenv(UPGRADE_VARIABLE);
	if (!good)
		return carry_wrong(
		    &inheritance->in, "%s is set, and not by an upgrade", UPGRADE_VARIABLE);
	if (pid != (long)getpid())
		return carry_wrong(&inheritance->in,
		    "it runs as pid %ld and not as %ld, for which it was meant: what starts it has "
		    "to execute it in its own place",
		    (long)getpid(), pid);
	if (carry_read(&inheritance->in, state) == -1)
		return carry_wrong(
		    &inheritance->in, "what the running server left: %s", strerror(errno));
	return state_sources(&inheritance->in, &inheritance->sources) == 0 ? 1 : -1;
}

void inheritance_close(struct inheritance *inheritance)
{
	state_release_sources(&inheritance->sources);
	carry_close(&inheritance->in);
	fd_close(&inheritance->result);
}

void rehearsal_end(
    const struct inheritance *inheritance, const char *word, const char *why, const char *lines)
{
	dprintf(inheritance->result, "%s %s\n%s", word, why, lines);
	_exit(strcmp(word, "ok") == 0 ? STATUS_DONE : STATUS_FAILED);
}
