/*
 * swap: changes files while somebody serves them, again and again until it is killed or its parent
 * has died.
 *
 *   swap exchange A B [MS]          two names change places (renameat2 RENAME_EXCHANGE)
 *   swap replace FILE SIZE [MS]     a new file full of one letter, a and b by turns, is renamed
 *                                   over it
 *   swap truncate FILE SIZE [MS]    cut to nothing and filled again, all with the letter a
 *
 * MS is the pause between two changes. It writes a byte to standard output when the first change is
 * done.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXCHANGE 2 /* RENAME_EXCHANGE, which not every libc names */

static void die(const char *what)
{
	fprintf(stderr, "swap: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Fills a file, cut to nothing first, with a letter. */
static void fill(const char *name, char letter, size_t size)
{
	static char bytes[65536];
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0644);

	if (fd == -1)
		die(name);
	memset(bytes, letter, sizeof bytes);
	for (size_t left = size; left > 0;) {
		ssize_t n = write(fd, bytes, left < sizeof bytes ? left : sizeof bytes);

		if (n == -1)
			die(name);
		left -= (size_t)n;
	}
	close(fd);
}

int main(int argc, char **argv)
{
	const char *how = argc > 3 ? argv[1] : "";
	long pause = argc > 4 ? atol(argv[4]) : 0;
	size_t size = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	char fresh[4096];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(fresh, sizeof fresh, "%s.new", argc > 2 ? argv[2] : "");
	for (unsigned long turn = 0;; turn++) {
		if (strcmp(how, "exchange") == 0) {
			if (syscall(SYS_renameat2, AT_FDCWD, argv[2], AT_FDCWD, argv[3],
				EXCHANGE) == -1)
				die("renameat2");
		} else if (strcmp(how, "replace") == 0) {
			fill(fresh, turn % 2 ? 'b' : 'a', size);
			if (rename(fresh, argv[2]) == -1)
				die("rename");
		} else if (strcmp(how, "truncate") == 0) {
			fill(argv[2], 'a', size);
		} else {
			fprintf(stderr,
			    "usage: swap exchange A B [MS] | replace|truncate FILE SIZE [MS]\n");
			return 2;
		}
		if (turn == 0 && write(STDOUT_FILENO, "\n", 1) != 1)
			die("ready");
		if (pause > 0)
			nanosleep(&(struct timespec){.tv_sec = pause / 1000,
				      .tv_nsec = pause % 1000 * 1000000},
			    NULL);
	}
}
