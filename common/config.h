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
#define CONFIG_CONTROLS_MAX 16
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

struct network;

/* The block of a `listen … { … }`, which all its addresses share. */
struct listen_block {
	/* Written by its directives. */
	bool proxy_protocol; /* each connection begins with a PROXY header */
	char **from; /* the networks of those that may send one; NULL: none was named */
	int64_t proxy_timeout; /* ms that it may take, 5s; at least 3s */
	/* from, as it was read; owned. */
	struct network *networks;
	size_t networks_count;
	struct position at;
	struct listen_block *next;
};

/* One address of a `listen ADDR… -> SERVICE`. */
struct listen_config {
	struct address address;
	struct service_config *service;
	const struct listen_block *block; /* the configuration's; NULL: it has none */
	struct position at;
	struct listen_config *next;
};

/* One endpoint for control: `control ADDR { … }`, or the default one. */
struct control_config {
	struct address address; /* ADDRESS_UNIX, ADDRESS_INET or ADDRESS_ANY */
	bool soft; /* nobody asked for it by name: if it cannot be had, go on without */
	/* Written by the directives of its block. */
	int64_t mode; /* of a Unix socket, 0600 */
	char *group; /* of a Unix socket; NULL: the server's own */
	char *token_file; /* absolute; a TCP endpoint must have it */
	char **allow_services; /* names and kinds; NULL: see PROTOCOL */
	char **allow_ports; /* "20000-20999", "8080"; NULL: any */
	char **allow_address; /* "127.0.0.1", "10.0.0.0/8", "::1", "*", "unix"; NULL: any */
	int64_t max_leases; /* DIRECTIVE_AUTO: no limit */
	struct position at;
	struct control_config *next;
};

/* Where a directive was written, for errors that are found later; of one that takes any number of
 * words, a setting for each, the first one first. */
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
	int64_t drain_delay; /* ms from TERM until listeners close: health answers 503; 0 */
	int64_t settle; /* ms that unfinished handshakes are waited for, 5s */
	int64_t retire_grace; /* ms that a worker which was replaced may take; DIRECTIVE_AUTO:
			       * unlimited */
	int64_t watchdog; /* ms without a heartbeat until a worker is killed, 10s; at least 2s */
	/* Of one worker; DIRECTIVE_AUTO: 4096, or what the descriptor limit allows. */
	int64_t max_connections;
	int64_t max_requests; /* of one worker, then it is replaced; 0: never */
	int64_t max_memory; /* bytes of one worker, then it is replaced; DIRECTIVE_AUTO: no limit */
	int64_t backlog; /* of each listener, 4096 */
	int64_t max_listeners; /* open at once; DIRECTIVE_AUTO: 1024, or what the limits allow */
	bool fd_store; /* the service manager keeps a copy of the listening sockets */
	char *pid_file; /* absolute, or NULL */
	char *error_log; /* absolute, or NULL for standard error */
	int64_t log_level; /* enum log_level: error, warn, notice, info, debug; notice */

	struct control_config *controls; /* in the order of the file; NULL: none */
	bool control_off; /* `control off;`: not even the default one */
	struct service_config *services; /* in the order of the file */
	struct listen_config *listeners; /* in the order of the file, then of the command line */
	struct listen_block *blocks; /* those that listeners have, in the order of the file */
	struct config_source *sources; /* files read, owned; positions point into them */
	struct config_setting *settings; /* the newest first */
	struct config *older; /* for whoever keeps more than one; not owned */
	/* Set before config_load: texts to read instead of files, as those were once; else NULL.
	 * Not owned, and not needed after it. */
	const struct config_source *given;
};

/* The directives of the top level, into struct config. */
extern const struct directive config_directives[];

/* Those of a control block, into struct control_config. */
extern const struct directive control_directives[];

/* Those of the block of a listen, into struct listen_block. */
extern const struct directive listen_directives[];

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
 * A service given in place, as config_add_listener makes it, but part of no configuration: for a
 * port that is opened while the server runs. words are the kind's arguments; a relative path starts
 * from folder (NULL: that is an error). Returns it, to be freed with config_free_service, or NULL
 * with why.
 */
struct service_config *config_make_service(const struct service_kind *kind,
    const char *const *words, size_t count, const char *folder, char *why, size_t size);
void config_free_service(struct service_config *service);

/* The service of that name that the configuration defines (never one in place), or NULL. */
struct service_config *config_find_service(const struct config *config, const char *name);

/*
 * Reads the address of a control endpoint: a path (relative to folder, NULL: the current one),
 * unix:/path, or a literal TCP address. Returns 0, or -1 with *why set to a constant sentence;
 * *address is then unchanged.
 */
int config_control_address(
    struct address *address, const char *text, const char *folder, const char **why);

/* An endpoint with every default set, part of no configuration. NULL with errno ENOMEM. */
struct control_config *config_new_control(const struct address *address);
void config_free_control(struct control_config *control);

/*
 * Where the default control endpoint is: LASTCALL_CONTROL, else for root
 * /run/lastcall/control.sock, else below XDG_RUNTIME_DIR. Returns out, or NULL when there is none
 * of these.
 */
const char *config_default_control(char *out, size_t size);

/*
 * Looks at what only the system knows: that user and group exist, that the folders, programs and
 * files with tokens that are named are there and are what they should be. Opens nothing for
 * writing. Returns 0 or -1 with errors in d.
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

/* The next setting of the same directive in the same struct, or NULL: the words of one statement in
 * their order, the last statement first. */
const struct config_setting *config_setting_next(const struct config_setting *setting);

/* Frees it all. NULL is allowed. */
void config_free(struct config *config);

#endif
