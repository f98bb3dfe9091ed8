/* Which backend a client gets. */
#pragma once
#include "maps.h"

/* The backend of that number, if the pool still has it. */
INLINE struct backend *backend_of(__u32 number, __u32 pool)
{
	struct backend *backend = map_get(&backends, &number);
	if (!backend || backend->pool != pool || backend->serial == 0)
		return 0;
	return backend;
}

/* Draws a backend, or takes the one that the client is kept on. */
INLINE struct backend *choose(__u32 pool, __u64 netns, __u32 *number)
{
	struct pool *it = map_get(&pools, &pool);
	if (!it)
		return 0;
	__u32 seconds = it->affinity;
	struct client client = { .netns = netns, .pool = pool };
	__u64 now = 0;
	if (seconds) {
		now = monotonic();
		struct kept *kept = map_get(&affinity, &client);
		if (kept && now - kept->seen <= seconds * 1000000000ULL) {
			struct backend *backend = backend_of(kept->backend, pool);
			if (backend && backend->serial == kept->serial) {
				kept->seen = now;
				*number = kept->backend;
				return backend;
			}
		}
	}
	__u64 range = *(volatile __u64 *)&it->range;
	__u32 count = range >> 32;
	if (count == 0)
		return 0;
	__u32 at = (__u32)range + random() % count;
	__u32 *slot = map_get(&slots, &at);
	if (!slot)
		return 0;
	*number = *(volatile __u32 *)slot;
	struct backend *backend = backend_of(*number, pool);
	if (backend && seconds) {
		struct kept kept = { .backend = *number, .serial = backend->serial, .seen = now };
		map_put(&affinity, &client, &kept, 0);
	}
	return backend;
}

INLINE struct address address_of(const struct backend *backend)
{
	struct address it = {};
	it.ip[0] = backend->ip[0];
	it.ip[1] = backend->ip[1];
	it.ip[2] = backend->ip[2];
	it.ip[3] = backend->ip[3];
	it.port = backend->port;
	return it;
}
