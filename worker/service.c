/* The table of services. A new one is a row here and a file beside this one. */
#include "service.h"

#include <string.h>

const struct service_kind *const service_kinds[] = {
    &http_service.kind,
    &echo_service.kind,
    &exec_service.kind,
    &app_service.kind,
    NULL,
};

const struct service_kind *service_kind_find(const char *name)
{
	for (size_t i = 0; service_kinds[i] != NULL; i++) {
		if (strcmp(service_kinds[i]->name, name) == 0)
			return service_kinds[i];
	}
	return NULL;
}
