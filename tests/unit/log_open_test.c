/*
 * Opening log files: what is opened, which links are followed, and that who owns the folder gets
 * nowhere, also when he changes it between two calls of ours.
 *
 * The code is included, so that a hook can stand behind its openat: what it does there is what
 * somebody else does who is just quick enough.
 */
#include <fcntl.h>

#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int hooked_openat(int folder, const char *name, int flags, ...);

#define openat hooked_openat
#define log_open tested_log_open
#define log_open_error tested_log_open_error
#define log_redirect tested_log_redirect
#include "../../common/log_open.c"
#undef openat

#define HOLDS(condition) CHECK(condition, "errno is %d", errno)

/* What happens once, as soon as the name was opened. NULL: nothing. */
static struct {
	const char *name;
	void (*act)(void);
} hook;

static int hooked_openat(int folder, const char *name, int flags, ...)
{
	int fd = openat(folder, name, flags, 0640);

	if (fd != -1 && hook.act != NULL && strcmp(name, hook.name) == 0) {
		hook.act();
		hook.act = NULL;
	}
	return fd;
}

static off_t size_of(const char *path)
{
	struct stat info;

	return stat(path, &info) == -1 ? -1 : info.st_size;
}

/* A file with one byte in it. */
static void make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	if (fd == -1 || write(fd, "x", 1) != 1 || close(fd) == -1) {
		perror(path);
		exit(2);
	}
}

static void must(int result, const char *what)
{
	if (result == -1) {
		perror(what);
		exit(2);
	}
}

/* Opens path and writes a byte to it. Returns 0 or errno, which is set so. */
static int put(const char *path)
{
	int fd = log_open(path), written;

	if (fd == -1)
		return errno;
	written = write(fd, "y", 1) == 1 ? 0 : errno;
	close(fd);
	errno = written;
	return written;
}

static void test_files(void)
{
	struct stat info;
	char *cwd, path[PATH_MAX + 8];
	int fd = log_open("new.log");

	HOLDS(fd != -1);
	HOLDS(fstat(fd, &info) == 0 && (info.st_mode & 07777) == 0640);
	HOLDS(fcntl(fd, F_GETFL) & O_APPEND && fcntl(fd, F_GETFL) & O_NONBLOCK);
	HOLDS(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	HOLDS(put("new.log") == 0 && put("new.log") == 0 && size_of("new.log") == 2);
	HOLDS(put("./safe//../new.log") == 0 && size_of("new.log") == 3);
	cwd = getcwd(NULL, 0);
	snprintf(path, sizeof path, "%s/new.log", cwd != NULL ? cwd : "");
	free(cwd);
	HOLDS(put(path) == 0 && size_of("new.log") == 4);
	HOLDS(put("/dev/null") == 0);

	HOLDS(put("") == EISDIR && put("safe") == EISDIR && put("/") == EISDIR);
	HOLDS(put("none/new.log") != 0);
	HOLDS(put("new.log/below") == ENOTDIR);
	memset(path, 'a', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	HOLDS(put(path) == ENAMETOOLONG);
	must(mkfifo("fifo", 0600), "fifo");
	HOLDS(put("fifo") == ENXIO);
}

/* Where nobody else may write. */
static void test_safe(void)
{
	make_file("victim");
	must(symlink("../victim", "safe/link"), "safe/link");
	HOLDS(put("safe/link") == 0 && size_of("victim") == 2);
	must(symlink("safe", "folder"), "folder");
	HOLDS(put("folder/link") == 0 && size_of("victim") == 3);
	must(symlink("made", "safe/dangling"), "safe/dangling");
	HOLDS(put("safe/dangling") == 0 && size_of("safe/made") == 1);
	must(symlink("loop", "loop"), "loop");
	HOLDS(put("loop") == ELOOP && put("loop/x") == ELOOP);
	must(link("victim", "safe/second"), "safe/second");
	HOLDS(put("safe/second") == 0 && size_of("victim") == 4);
	must(unlink("safe/second"), "safe/second");
}

/* Where anybody may write; sticky, so that links of ours are known without O_PATH too. */
static void test_shared(void)
{
	make_file("victim");
	HOLDS(put("shared/log") == 0 && put("shared/log") == 0 && size_of("shared/log") == 2);
	must(link("victim", "shared/second"), "shared/second");
	HOLDS(put("shared/second") == EMLINK && size_of("victim") == 1);
	must(unlink("shared/second"), "shared/second");
	must(symlink("../victim", "shared/link"), "shared/link");
	HOLDS(put("shared/link") == 0 && size_of("victim") == 2);
	must(link("shared/link", "shared/link2"), "shared/link2");
	HOLDS(put("shared/link2") == ELOOP && size_of("victim") == 2);
	must(unlink("shared/link2"), "shared/link2");
	if (geteuid() == 0) {
		must(lchown("shared/link", 65534, 65534), "shared/link");
		/* Or EACCES, where the system refuses (fs.protected_symlinks of Linux). */
		HOLDS(put("shared/link") != 0 && size_of("victim") == 2);
	}
	must(unlink("shared/link"), "shared/link");
}

static void drop_log(void)
{
	must(unlink("shared/race"), "shared/race");
}

static void replace_log(void)
{
	drop_log();
	make_file("shared/race");
}

static void rename_log(void)
{
	must(rename("shared/race", "shared/race.1"), "shared/race");
}

/* Somebody changes the folder between two calls. */
static void test_races(void)
{
	hook.name = "race";
	make_file("victim");

	/* The second name is gone before anybody can count it. */
	must(link("victim", "shared/race"), "shared/race");
	hook.act = drop_log;
	HOLDS(put("shared/race") == EMLINK && hook.act == NULL && size_of("victim") == 1);

	/* And another file of one name is there in its place. */
	must(link("victim", "shared/race"), "shared/race");
	hook.act = replace_log;
	HOLDS(put("shared/race") == EMLINK && hook.act == NULL && size_of("victim") == 1);
	HOLDS(size_of("shared/race") == 1);

	/* Or the file itself, which then has another name. */
	hook.act = rename_log;
	HOLDS(put("shared/race") == EMLINK && hook.act == NULL && size_of("shared/race.1") == 1);
	HOLDS(put("shared/race") == 0 && size_of("shared/race") == 1);
	drop_log();

	/* A link of ours, given a second name here that is gone before it can be counted. Where a
	 * link cannot be held it is never opened, and its names are two. */
	must(symlink("../victim", "safe/ours"), "safe/ours");
	must(link("safe/ours", "shared/race"), "shared/race");
	hook.act = drop_log;
	HOLDS(put("shared/race") == ELOOP && size_of("victim") == 1);
	hook.act = NULL;
}

static void test_redirect(void)
{
	int fd = log_open("redirected"), same = log_open("redirected"), other = log_open("other");

	HOLDS(log_redirect(fd, same) == 0);
	HOLDS(log_redirect(fd, other) == 1);
	HOLDS(write(fd, "z", 1) == 1 && size_of("other") == 1 && size_of("redirected") == 0);
	close(fd);
	close(same);
	close(other);
}

static void test_words(void)
{
	HOLDS(strstr(log_open_error(EMLINK), "second name") != NULL);
	HOLDS(strstr(log_open_error(ELOOP), "symbolic link") != NULL);
	HOLDS(strstr(log_open_error(ENXIO), "nobody reads") != NULL);
	HOLDS(strcmp(log_open_error(ENOENT), strerror(ENOENT)) == 0);
}

int main(void)
{
	static const char *const made[] = {"shared/log", "shared/race", "shared/race.1",
	    "safe/link", "safe/dangling", "safe/made", "safe/ours", "new.log", "fifo", "victim",
	    "folder", "loop", "redirected", "other"};
	char folder[] = "/tmp/lastcall-log.XXXXXX";

	umask(022);
	if (mkdtemp(folder) == NULL || chdir(folder) == -1) {
		perror(folder);
		return 2;
	}
	must(mkdir("safe", 0755), "safe");
	must(mkdir("shared", 0755), "shared");
	must(chmod("shared", 01777), "shared");
	test_files();
	test_safe();
	test_shared();
	test_races();
	test_redirect();
	test_words();
	for (size_t i = 0; i < sizeof made / sizeof *made; i++)
		unlink(made[i]);
	must(rmdir("safe"), "safe");
	must(rmdir("shared"), "shared");
	must(chdir("/"), "/");
	must(rmdir(folder), folder);
	return unit_end();
}
