/*
 * The configuration: what a file and a command line say, checked, and nothing that is open or
 * running.
 *
 * A caller makes one with config_new, adds a file with config_load and listeners of the command
 * line with config_add_listener, looks at the diagnostics, and frees it. A reload makes a second
 * one beside the first. Parsing binds nothing, forks nothing and writes nothing.
 *
 * Syntax: `name word… ;` or `name word… { … }`. A word is bare (ends at space ; { } or #) or in
 * double quotes with \" \\ \n \t inside. `#` to the end of the line is a comment. `include PATH;`
 * reads another file (a glob is allowed, at most 10 deep, cycles are an error), relative to the
 * file that includes.
 */
#ifndef LASTCALL_CONFIG_H
#define LASTCALL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "diagnostics.h"
#include "directive.h"

#define CONFIG_SERVICES_MAX 1024 /* of one configuration, those given in place included */
#define CONFIG_LISTENERS_MAX 1024
#define CONFIG_FILES_MAX 1024
#define CONFIG_DEPTH_MAX 10 /* files that include one another */
#define CONFIG_NAME_MAX 63 /* bytes of a service's name, [A-Za-z0-9_.-]+, which is no kind's */

/* Exit statuses of the daemon, of the client commands, and of a worker. */
enum {
	STATUS_DONE = 0, /* drained, nothing cut */
	STATUS_FAILED = 1,
	STATUS_USAGE = 2, /* usage or configuration; of a worker: it can never start */
	STATUS_CUT = 3, /* something was cut */
};

struct service_kind;

/* `service NAME KIND { … }`, or a service given in place. */
struct service_config {
	char *name; /* "site"; for one in place its kind's name */
	const struct service_kind *kind;
	void *options; /* kind->options_size bytes, owned */
	struct position at;
	struct service_config *next;
};

/* One address of a `listen ADDR… -> SERVICE`. */
struct listen_config {
	struct address address;
	struct service_config *service;
	struct position at;
	struct listen_config *next;
};

/* Where a directive was written, for errors that are found later. */
struct config_setting {
	const struct directive *directive;
	const void *base; /* the struct that it was written into */
	struct position at; /* of its value */
	struct config_setting *next;
};

struct config {
	/* Written by the directives; config_directives has the defaults and limits. */
	int64_t workers; /* `workers auto|N`; DIRECTIVE_AUTO: one per CPU; 1 to 256 */
	char *user, *group; /* NULL: see privilege.h */
	int64_t umask; /* 0022 */
	int64_t core_limit; /* bytes, 0; DIRECTIVE_AUTO: unlimited */
	int64_t grace; /* ms a stop may take, 30s */
	int64_t settle; /* ms that unfinished handshakes are waited for, 5s */
	int64_t watchdog; /* ms without a heartbeat until a worker is killed, 10s; at least 2s */
	/* Of one worker; DIRECTIVE_AUTO: 4096, or what the descriptor limit allows. */
	int64_t max_connections;
	int64_t max_requests; /* of one worker, then it is replaced; 0: never */
	int64_t backlog; /* of each listener, 4096 */
	char *pid_file; /* absolute, or NULL */
	char *error_log; /* absolute, or NULL for standard error */
	int64_t log_level; /* enum log_level: error, warn, notice, info, debug; notice */

	struct service_config *services; /* in the order of the file */
	struct listen_config *listeners; /* in the order of the file, then of the command line */
	struct config_source *sources; /* files read, owned; positions point into them */
	struct config_setting *settings; /* the newest first */
};

/* The directives of the top level, into struct config. */
extern const struct directive config_directives[];

/* An empty configuration with every default set. Returns NULL with errno ENOMEM. */
struct config *config_new(void);

/*
 * Reads a file into the configuration, then looks at it as a whole (unknown services, addresses
 * that are listened on twice or overlap, each service's own check). Every error goes to d. A file
 * that is a directory, unreadable, larger than 1 MiB or contains a NUL byte is one error. Returns
 * 0, or -1 if there was any error; then the configuration is good for nothing but
 * config_check_system and config_free.
 */
int config_load(struct config *config, const char *path, struct diagnostics *d);

/*
 * Adds `ADDR SERVICE ARG…` of the command line. words are the service and its arguments; the
 * service is a named one of the file, or a kind given in place. Services in place without arguments
 * are shared. Returns 0, or -1 with the error in d; the configuration is then unchanged.
 */
int config_add_listener(struct config *config, const char *address, int count, char *const *words,
    struct diagnostics *d);

/*
 * Looks at what only the system knows: that user and group exist, that the folders and programs
 * named are there and are what they should be. Opens nothing for writing. Returns 0 or -1 with
 * errors in d.
 */
int config_check_system(const struct config *config, struct diagnostics *d);

/*
 * Reports an error at a place of the configuration, with the line of the file that it is in
 * (at->file NULL: the command line, without a place).
 */
void config_error(const struct config *config, struct diagnostics *d, const struct position *at,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Where directive was written into the struct at base (directive NULL: any), or NULL. */
const struct config_setting *config_setting_find(
    const struct config *config, const struct directive *directive, const void *base);

/* Frees it all. NULL is allowed. */
void config_free(struct config *config);

#endif
