/*
 * The command line: words in, struct out. Nothing is opened or started here.
 */
#ifndef LASTCALL_OPTIONS_H
#define LASTCALL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_source;

#define OPTIONS_LISTEN_MAX 64

/* One `-l ADDR SERVICE ARG…`; for `serve`, words are empty. */
struct options_listen {
	const char *address;
	char *const *words;
	int count;
};

struct options {
	bool help;
	bool detach; /* -d */
	bool now; /* --now */
	bool json; /* status --json */
	bool alone; /* lease --private */
	bool no_control; /* --no-control */
	const char *control; /* -s: a client's daemon, or the endpoint of the one that starts */
	const char *token_file; /* --token-file */
	int64_t grace, ttl, heartbeat; /* ms; -1: not said */
	const char *config_file; /* -c */
	bool resumes; /* the configuration is one that was in force before an upgrade */
	const struct config_source
	    *given; /* its text, where an upgrade carries it over; else NULL */
	const char *pid_file; /* -p */
	const char *user; /* -u */
	const char *error_log; /* -e */
	long workers; /* -w; 0: not said */
	int ready_fd; /* --ready-fd; -1: not said */
	const char *folder; /* serve's DIR */
	struct options_listen listen[OPTIONS_LISTEN_MAX];
	int listen_count;
	const char *address; /* ADDR of the client commands */
	char *const *words; /* SERVICE and its arguments */
	int count; /* of words */
	char *const *argv; /* all of it, from the program's name on */
	char *const *program; /* what stands behind `--`, ends with NULL; NULL: there is no `--` */
};

/* Which options a command takes, as flags. */
enum {
	TAKES_LISTEN = 1, /* -l ADDR */
	TAKES_LISTEN_SERVICE = 2, /* -l ADDR SERVICE [ARG…] */
	TAKES_CONFIG = 4,
	TAKES_RUNNING = 8, /* -w -u -e --ready-fd */
	TAKES_PID_FILE = 16,
	TAKES_DETACH = 32,
	TAKES_FOLDER = 64,
	TAKES_NOW = 128,
	TAKES_CLIENT = 256, /* -s --token-file */
	TAKES_GRACE = 512,
	TAKES_JSON = 1024,
	TAKES_LEASE = 2048, /* --ttl --heartbeat --private, and `-- COMMAND` at the end */
	TAKES_ADDRESS = 4096, /* one ADDR */
	TAKES_SERVICE = 8192, /* ADDR SERVICE [ARG…]; no option is looked for from ADDR on */
};

/*
 * Reads the words after the command's name. Returns 0, or -1 with why ("-w: \"x\" is not a number
 * from 1 to 256"). Everything in options points into argv.
 */
int options_parse(
    struct options *options, unsigned takes, int argc, char *const *argv, char *why, size_t size);

#endif
