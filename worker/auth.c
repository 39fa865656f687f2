/* Users, their hashes, and the bounds of what checking them costs; see auth.h. */
#include "auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef HAVE_CRYPT_H
#include <crypt.h>
#endif

#include "clock.h"
#include "descriptor.h"
#include "random.h"

#define FILE_MAX ((off_t)1 << 20)
#define KINDS_MAX 16 /* kinds of hashes of which one is tried when the file is read */

struct user {
	const char *name, *hash; /* in text */
	unsigned line;
};

struct remembered {
	uint64_t first, second; /* under two keys; both 0: vacant */
};

struct auth {
	char *text;
	struct user *users; /* sorted by name */
	size_t count;
	int64_t cost; /* ms that the slowest kind of hash took when the file was read */
	struct sip_key keys[2];
	/* Apart, so that no number of wrong guesses drives out somebody who is known. */
	struct remembered right[AUTH_REMEMBERED], wrong[AUTH_REMEMBERED];
};

/* ---- crypt(3) ---- */

bool auth_available(void)
{
#ifdef HAVE_CRYPT
	return true;
#else
	return false;
#endif
}

/* What the password becomes in the way of this hash, or NULL. Some libraries return a text that
 * begins with "*" where others return NULL. */
static const char *hash_of(const char *password, const char *hash)
{
#ifdef HAVE_CRYPT
	const char *made = crypt(password, hash);

	return made != NULL && made[0] != '*' ? made : NULL;
#else
	(void)password;
	(void)hash;
	return NULL;
#endif
}

/* ---- the file ---- */

static int compare(const void *a, const void *b)
{
	const struct user *left = a, *right = b;
	int order = strcmp(left->name, right->name);

	return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

static char *read_whole(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = NULL;
	struct stat info;
	ssize_t got = -1;

	if (fd == -1)
		return NULL;
	if (fstat(fd, &info) == 0 && (!S_ISREG(info.st_mode) || info.st_size > FILE_MAX))
		errno = S_ISREG(info.st_mode) ? EFBIG : EINVAL;
	else if ((text = malloc((size_t)FILE_MAX + 1)) != NULL)
		got = read(fd, text, (size_t)FILE_MAX);
	if (text != NULL && got >= 0) {
		text[got] = '\0';
		if (strlen(text) != (size_t)got) {
			errno = EILSEQ; /* a NUL would hide what stands behind it */
			got = -1;
		}
	}
	fd_close(&fd);
	if (got == -1) {
		free(text);
		return NULL;
	}
	return text;
}

/* Takes one line apart. Returns NULL, or what is wrong with it. */
static const char *parse_line(struct auth *auth, char *line, unsigned number)
{
	char *colon;
	size_t length = strlen(line);
	struct user *users;

	if (length > 0 && line[length - 1] == '\r')
		line[--length] = '\0';
	if (length == 0 || line[0] == '#')
		return NULL;
	colon = strchr(line, ':');
	if (colon == NULL || colon == line || colon[1] == '\0')
		return "it is not name:hash";
	*colon = '\0';
	/* What else a line of htpasswd or shadow(5) has is not ours. */
	colon[1 + strcspn(colon + 1, ":")] = '\0';
	if ((auth->count & (auth->count - 1)) == 0) {
		users = realloc(auth->users, (auth->count ? auth->count * 2 : 1) * sizeof *users);
		if (users == NULL)
			return strerror(errno);
		auth->users = users;
	}
	auth->users[auth->count++] = (struct user){line, colon + 1, number};
	return NULL;
}

static int parse(struct auth *auth, char *why, size_t size)
{
	unsigned number = 1;

	for (char *line = auth->text, *next; line != NULL; line = next, number++) {
		const char *wrong;

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		wrong = parse_line(auth, line, number);
		if (wrong != NULL) {
			snprintf(why, size, "line %u: %s", number, wrong);
			return -1;
		}
	}
	if (auth->count == 0) {
		snprintf(why, size, "it names nobody");
		return -1;
	}
	qsort(auth->users, auth->count, sizeof *auth->users, compare);
	for (size_t i = 1; i < auth->count; i++) {
		if (strcmp(auth->users[i - 1].name, auth->users[i].name) == 0) {
			snprintf(why, size, "line %u: the name of line %u again",
			    auth->users[i].line, auth->users[i - 1].line);
			return -1;
		}
	}
	return 0;
}

/* The length of the kind of a hash: "$6$", "$2y$"; 0 for the old one without a name. */
static size_t kind_length(const char *hash)
{
	const char *end = hash[0] == '$' ? strchr(hash + 1, '$') : NULL;

	return end != NULL ? (size_t)(end - hash) + 1 : 0;
}

/* Tries one hash of each kind: what crypt(3) does not know would let nobody in. And takes the time.
 */
static int try_kinds(struct auth *auth, char *why, size_t size)
{
	const char *kinds[KINDS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < auth->count; i++) {
		const struct user *user = &auth->users[i];
		size_t length = kind_length(user->hash), known = 0;
		int64_t began = clock_ms();

		while (known < count &&
		    (kind_length(kinds[known]) != length ||
			strncmp(kinds[known], user->hash, length) != 0))
			known++;
		if (known < count || count == KINDS_MAX)
			continue;
		kinds[count++] = user->hash;
		if (hash_of("", user->hash) == NULL) {
			snprintf(why, size, "line %u: crypt(3) does not know this kind of hash",
			    user->line);
			return -1;
		}
		if (clock_ms() - began > auth->cost)
			auth->cost = clock_ms() - began;
	}
	return 0;
}

struct auth *auth_open(const char *path, char *why, size_t size)
{
	struct auth *auth = calloc(1, sizeof *auth);

	if (auth != NULL)
		auth->text = read_whole(path);
	if (auth == NULL || auth->text == NULL) {
		snprintf(why, size, "%s", strerror(errno));
		auth_close(auth);
		return NULL;
	}
	if (parse(auth, why, size) == -1 || try_kinds(auth, why, size) == -1) {
		auth_close(auth);
		return NULL;
	}
	return auth;
}

void auth_close(struct auth *auth)
{
	if (auth == NULL)
		return;
	free(auth->text);
	free(auth->users);
	free(auth);
}

int auth_start(struct auth *auth)
{
	return random_bytes(auth->keys, sizeof auth->keys);
}

/* ---- checking ---- */

static const struct user *find_user(const struct auth *auth, const char *name)
{
	const struct user wanted = {.name = name};
	size_t low = 0, high = auth->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(wanted.name, auth->users[middle].name);

		if (order == 0)
			return &auth->users[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* Somebody who is not there costs as much as somebody who is, or the time would tell. */
static bool verify(const struct auth *auth, const struct credentials *credentials)
{
	const struct user *user = find_user(auth, credentials->text);
	const char *hash = user != NULL ? user->hash : auth->users[0].hash;
	const char *made = hash_of(credentials->password, hash);

	return made != NULL && same_secret(hash, made) && user != NULL;
}

/* What the next call will take, as far as can be told; at least a millisecond. */
static int64_t likely_cost(const struct auth *auth, const struct auth_turns *turns)
{
	int64_t cost = turns->cost > auth->cost ? turns->cost : auth->cost;

	return cost > 0 ? cost : 1;
}

/* When the turn of a request that comes now is, in ms from now; -1: too far away. */
static int64_t take_turn(const struct auth *auth, struct auth_turns *turns, int64_t now)
{
	int64_t at = turns->next > now ? turns->next : now;

	if (at < turns->free)
		at = turns->free;
	if (at - now > AUTH_WAIT_MS)
		return -1;
	turns->next = at + likely_cost(auth, turns) * (1 + AUTH_SHARE);
	return at - now;
}

/*
 * How long a request has to wait, in ms; 0: not at all, -1: too long. Whose turn it is waits on
 * when a call before it took longer than could be told.
 */
static int64_t time_to_wait(
    const struct auth *auth, struct auth_turns *turns, int64_t waited, int64_t now)
{
	if (waited < 0)
		return take_turn(auth, turns, now);
	if (now >= turns->free)
		return 0;
	return waited > AUTH_WAIT_MS ? -1 : turns->free - now;
}

static bool is_remembered(const struct remembered *place, const struct remembered *these)
{
	return place->first == these->first && place->second == these->second &&
	    (these->first | these->second) != 0;
}

enum auth_result auth_check(struct auth *auth, struct auth_turns *turns,
    const struct credentials *credentials, int64_t waited, int64_t *wait)
{
	const struct remembered these = {
	    sip_hash(&auth->keys[0], credentials->text, credentials->length),
	    sip_hash(&auth->keys[1], credentials->text, credentials->length),
	};
	size_t place = these.first % AUTH_REMEMBERED;
	int64_t now = clock_ms(), took;
	bool yes;

	if (is_remembered(&auth->right[place], &these))
		return AUTH_YES;
	if (is_remembered(&auth->wrong[place], &these))
		return AUTH_NO;
	*wait = time_to_wait(auth, turns, waited, now);
	if (*wait != 0)
		return *wait > 0 ? AUTH_LATER : AUTH_BUSY;
	yes = verify(auth, credentials);
	(yes ? auth->right : auth->wrong)[place] = these;
	took = clock_ms() - now;
	turns->cost = took > 0 ? took : 1;
	turns->free = now + took + turns->cost * AUTH_SHARE;
	return yes ? AUTH_YES : AUTH_NO;
}
