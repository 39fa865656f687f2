/*
 * Copies: files of several states are asked for, sent at different paces and given up at random.
 * Whoever holds a copy gets the bytes of the state that was asked for, whatever else happens; no
 * more memory is taken than was allowed, and no descriptor is left.
 */
#include "copies.h"
#include "unit.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES 12
#define SENDERS 20
#define TURNS 50000
#define MOST 400000

static struct copies copies;
static struct test_file {
	struct identity identity;
} files[FILES];
static struct sender {
	struct copy *copy; /* NULL: idle */
	struct identity identity;
	uint64_t at;
} senders[SENDERS];
static int wrong, over, began_whole, became_whole, remembered;

/* The byte of a file in a state. */
static char byte_of(const struct identity *identity, uint64_t at)
{
	return (char)(identity->inode * 131 + (uint64_t)identity->changed.tv_sec * 31 + at +
	    (at >> 8) * 7);
}

static void change(struct test_file *file)
{
	file->identity.size = 1 + rand() % 150000;
	file->identity.modified.tv_sec++;
	file->identity.changed.tv_sec++;
}

static void ask(struct sender *s)
{
	s->identity = files[rand() % FILES].identity;
	s->at = (uint64_t)(rand() % 4 == 0 ? rand() % s->identity.size : 0);
	s->copy = copy_hold(&copies, &s->identity, s->at == 0);
	remembered += s->copy == NULL;
	if (s->copy != NULL && !identity_is_same(&s->copy->identity, &s->identity))
		wrong++;
	began_whole += s->copy != NULL && copy_is_whole(s->copy);
}

static void end(struct sender *s)
{
	copy_give(s->copy);
	s->copy = NULL;
}

static void send_some(struct sender *s)
{
	char bytes[40000];
	uint64_t left = (uint64_t)s->identity.size - s->at;
	size_t length = 1 + (size_t)rand() % sizeof bytes;
	bool whole = copy_is_whole(s->copy);

	if (length > left)
		length = (size_t)left;
	if (whole) {
		if (pread(s->copy->fd, bytes, length, (off_t)s->at) != (ssize_t)length)
			wrong++;
		for (size_t i = 0; i < length; i++)
			wrong += bytes[i] != byte_of(&s->identity, s->at + i);
	} else {
		for (size_t i = 0; i < length; i++)
			bytes[i] = byte_of(&s->identity, s->at + i);
		copy_add(s->copy, bytes, length, s->at);
		became_whole += copy_is_whole(s->copy);
	}
	/* Less may have been sent than was read. */
	s->at += (uint64_t)rand() % (length + 1);
	if (s->at == (uint64_t)s->identity.size || rand() % 50 == 0)
		end(s);
}

static uint64_t taken(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < COPIES_MAX; i++) {
		if (copies.places[i].fd != -1)
			sum += (uint64_t)copies.places[i].identity.size;
	}
	return sum;
}

static int descriptors(void)
{
	DIR *folder = opendir("/dev/fd");
	int count = 0;

	while (readdir(folder) != NULL)
		count++;
	closedir(folder);
	return count;
}

int main(void)
{
	int before = descriptors();

	srand(20261128);
	copies_open(&copies, MOST);
	for (int i = 0; i < FILES; i++) {
		files[i].identity = (struct identity){.device = 1, .inode = (ino_t)(7 + i)};
		change(&files[i]);
	}
	for (int turn = 0; turn < TURNS; turn++) {
		struct sender *s = &senders[rand() % SENDERS];

		if (s->copy != NULL)
			send_some(s);
		else
			ask(s);
		if (rand() % 200 == 0)
			change(&files[rand() % FILES]);
		over += taken() > MOST || taken() != copies.taken;
	}
	for (int i = 0; i < SENDERS; i++)
		end(&senders[i]);
	CHECK(wrong == 0, "%d wrong bytes or states", wrong);
	CHECK(over == 0, "%d times", over);
	CHECK(began_whole > 100 && became_whole > 100 && remembered > 100, "%d, %d, %d",
	    began_whole, became_whole, remembered);
	copies_close(&copies);
	CHECK(copies.taken == 0, "bytes");
	CHECK(descriptors() == before, "descriptors");

	/* None at all. */
	copies_open(&copies, 0);
	for (int i = 0; i < 3; i++)
		CHECK(copy_hold(&copies, &files[0].identity, true) == NULL, "none is allowed");
	copies_close(&copies);
	return unit_end();
}
