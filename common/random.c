/* Random bytes, from where every system has them; see random.h. */
#include "random.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "descriptor.h"

int random_bytes(void *out, size_t size)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	size_t got = 0;

	while (fd >= 0 && got < size) {
		ssize_t n = read(fd, (char *)out + got, size - got);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	fd_close(&fd);
	return got == size ? 0 : -1;
}
