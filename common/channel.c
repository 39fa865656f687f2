/* The channel; see channel.h. A message is a datagram of fixed size, so it comes whole or not at
 * all. */
#include "channel.h"

#include <errno.h>
#include <sys/socket.h>

int channel_send(int fd, enum channel_type type, uint32_t index)
{
	struct channel_message message = {.type = type, .index = index};

	return send(fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT) == -1 ? -1 : 0;
}

int channel_receive(int fd, struct channel_message *message)
{
	struct channel_message got;
	ssize_t n;

	do {
		n = recv(fd, &got, sizeof got, MSG_DONTWAIT);
	} while (n == -1 && errno == EINTR);
	if (n == -1 && errno == EAGAIN)
		return 0;
	if (n != (ssize_t)sizeof got)
		return -1;
	*message = got;
	return 1;
}
