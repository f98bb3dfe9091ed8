/* Which backend a client gets. */
#pragma once
#include "address.h"

/* A backend, as it was at one moment. */
struct backend {
	struct address at;
	__u32 number;
	__u32 serial;
};

#define READ(word) (*(volatile __u32 *)&(word))

/* Where a backend's words are; the families have arrays of their own. */
struct place {
	__u32 *ip;
	__u32 *port_serial;
	__u32 *pool;
};

INLINE int find4(__u32 number, struct place *it)
{
	__u32 element = number / TOGETHER;
	struct backends4 *together = map_get(&backends4, &element);
	if (!together)
		return 0;
	struct backend4 *backend = &together->all[number % TOGETHER];
	it->ip = &backend->ip;
	it->port_serial = &backend->port_serial;
	it->pool = &backend->pool;
	return 1;
}

INLINE int find6(__u32 number, struct place *it)
{
	struct backend6 *backend = map_get(&backends6, &number);
	if (!backend)
		return 0;
	it->ip = backend->ip;
	it->port_serial = &backend->port_serial;
	it->pool = &backend->pool;
	return 1;
}

/* Reads the backend of that number, if the pool still has it. Who gives a number to another one
 * writes the pool away first, then the address, then port and serial, then the new pool: so what
 * is read between two looks at the serial, and was the pool's, belongs together. */
INLINE int backend_of(__u32 number, __u32 pool, int v4, struct backend *it)
{
	struct place place;
	if (!(v4 ? find4(number, &place) : find6(number, &place)))
		return 0;
	__u32 before = READ(*place.port_serial);
	it->at.ip[0] = v4 ? 0 : READ(place.ip[0]);
	it->at.ip[1] = v4 ? 0 : READ(place.ip[1]);
	it->at.ip[2] = v4 ? MAPPED : READ(place.ip[2]);
	it->at.ip[3] = v4 ? READ(place.ip[0]) : READ(place.ip[3]);
	if ((READ(*place.pool) ^ pool) | (READ(*place.port_serial) ^ before))
		return 0;
	it->at.port = before;
	it->at.protocol = 0;
	it->at.unused = 0;
	it->number = number;
	it->serial = before >> 16;
	return 1;
}

/* The number in a slot. */
INLINE int slot_of(__u32 at, __u32 *number)
{
	__u32 element = at / TOGETHER;
	struct slots *together = map_get(&slots, &element);
	if (!together)
		return 0;
	*number = READ(together->all[at % TOGETHER]);
	return 1;
}

/* Draws a backend, or takes the one that the client is kept on. */
INLINE int choose(const struct pool *pool, const struct client *client, int v4, struct backend *it)
{
	__u32 seconds = pool->affinity;
	__u64 now = 0;
	if (seconds) {
		now = monotonic();
		struct kept *kept = map_get(&affinity, client);
		if (kept && now - kept->seen <= seconds * 1000000000ULL) {
			if (backend_of(kept->backend, client->pool, v4, it) && it->serial == kept->serial) {
				kept->seen = now;
				return 1;
			}
		}
	}
	__u64 range = *(volatile __u64 *)&pool->range;
	__u32 count = range >> 32;
	if (count == 0)
		return 0;
	__u32 number;
	if (!slot_of((__u32)range + random() % count, &number))
		return 0;
	if (!backend_of(number, client->pool, v4, it))
		return 0;
	if (seconds) {
		struct kept kept = { .backend = number, .serial = it->serial, .seen = now };
		map_put(&affinity, client, &kept, 0);
	}
	return 1;
}
