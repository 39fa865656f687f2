/* The channel; see channel.h. A message is a packet, so it comes whole or not at all. */
#include "channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "descriptor.h"

/* What every packet begins with. LISTEN and REOPEN go on with a channel_listen and its words. */
struct head {
	uint32_t type, index;
};

/* Room for the descriptors of a message, aligned as CMSG_FIRSTHDR wants it. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * CHANNEL_FDS_MAX)];
};

int channel_send(int fd, enum channel_type type, uint32_t index)
{
	struct head head = {.type = type, .index = index};

	return send(fd, &head, sizeof head, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 ? -1 : 0;
}

int channel_send_fds(int fd, const struct channel_message *message)
{
	struct head head = {.type = message->type, .index = message->index};
	struct iovec parts[] = {
	    {&head, sizeof head},
	    {(void *)(uintptr_t)&message->listen, sizeof message->listen},
	    {(void *)(uintptr_t)message->words, message->listen.words_size},
	};
	size_t fds_size = sizeof(int) * (size_t)message->fds_count;
	union control control;
	struct msghdr packet = {
	    .msg_iov = parts,
	    .msg_iovlen = 3,
	    .msg_control = control.bytes,
	    .msg_controllen = CMSG_SPACE(fds_size),
	};
	struct cmsghdr *rights;

	memset(&control, 0, sizeof control);
	rights = CMSG_FIRSTHDR(&packet);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(fds_size);
	memcpy(CMSG_DATA(rights), message->fds, fds_size);
	return sendmsg(fd, &packet, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 ? -1 : 0;
}

/* Takes over the descriptors that came with a packet. */
static void take_fds(struct msghdr *packet, struct channel_message *message)
{
	for (struct cmsghdr *at = CMSG_FIRSTHDR(packet); at != NULL; at = CMSG_NXTHDR(packet, at)) {
		size_t count;

		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (count > CHANNEL_FDS_MAX)
			count = CHANNEL_FDS_MAX; /* there was no room for more */
		memcpy(message->fds, CMSG_DATA(at), count * sizeof(int));
		message->fds_count = (int)count;
	}
	for (int i = 0; i < message->fds_count; i++)
		fd_set_cloexec(message->fds[i], true);
}

/* Whether a packet of that size is whole, and what it says of itself holds. */
static bool is_sound(
    const struct channel_message *message, const struct msghdr *packet, size_t size)
{
	size_t least = sizeof(struct head) + sizeof message->listen;

	if (packet->msg_flags & MSG_TRUNC)
		return false;
	if (message->type != CHANNEL_LISTEN && message->type != CHANNEL_REOPEN)
		return size == sizeof(struct head);
	return size >= least && size - least == message->listen.words_size &&
	    (size == least || message->words[message->listen.words_size - 1] == '\0');
}

static int gone(void)
{
	errno = EPIPE;
	return -1;
}

static int nonsense(void)
{
	errno = EPROTO;
	return -1;
}

int channel_receive(int fd, struct channel_message *message, bool with_fds)
{
	struct head head = {0};
	struct iovec parts[] = {
	    {&head, sizeof head},
	    {&message->listen, sizeof message->listen},
	    {message->words, sizeof message->words},
	};
	union control control;
	struct msghdr packet = {
	    .msg_iov = parts,
	    .msg_iovlen = 3,
	    .msg_control = with_fds ? control.bytes : NULL,
	    .msg_controllen = with_fds ? sizeof control : 0,
	};
	ssize_t got;

	message->fds_count = 0;
	do {
		got = recvmsg(fd, &packet, MSG_DONTWAIT);
	} while (got == -1 && errno == EINTR);
	if (got == -1 && errno == EAGAIN)
		return 0;
	if (got <= 0)
		return got == 0 ? gone() : -1;
	if (got < (ssize_t)sizeof head)
		return nonsense();
	message->type = head.type;
	message->index = head.index;
	if (with_fds)
		take_fds(&packet, message);
	if (is_sound(message, &packet, (size_t)got))
		return 1;
	for (int i = 0; i < message->fds_count; i++)
		fd_close(&message->fds[i]);
	return nonsense();
}
