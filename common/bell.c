/* The bell; see bell.h. A pair of datagram sockets, since their calls can be told not to block. */
#include "bell.h"

#include <sys/socket.h>

#include "descriptor.h"

#define RINGS_MAX 64 /* more than a socket's queue holds */

int bell_open(int *rope, int *ear)
{
	int ends[2];

	if (fd_pair(ends, SOCK_DGRAM) == -1)
		return -1;
	*ear = ends[0];
	*rope = ends[1];
	return 0;
}

void bell_ring(int rope)
{
	/* EAGAIN: it is full of rings already. */
	if (send(rope, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
		return;
}

void bell_hush(int ear)
{
	char ring;

	for (int i = 0; i < RINGS_MAX && recv(ear, &ring, 1, MSG_DONTWAIT) == 1; i++)
		continue;
}
