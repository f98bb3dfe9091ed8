/* Who dials: a backend itself, or somebody who is no part of the node. */
#pragma once
#include "address.h"
#include "choice.h"

/* How the dialler can be asked whether an address is its own. */
enum how { BIND4, BIND6, LISTEN };
enum answer { OTHER = 0, OWN = 1, UNSURE = 2, UNKNOWN = 4 };

/* Binding fails at once when the address is not the namespace's; what it did else is undone. */
INLINE enum answer binds4(struct bpf_sock_addr *ctx, const struct address *to)
{
	struct sockaddr4 at = { .family = INET, .ip = to->ip[3] };
	long result = bind(ctx, &at, sizeof(at));
	if (result == 0) {
		at.ip = 0;
		bind(ctx, &at, sizeof(at));
	}
	return result == -ADDRESS_NOT_AVAILABLE ? OTHER : OWN;
}

INLINE enum answer binds6(struct bpf_sock_addr *ctx, const struct address *to)
{
	struct sockaddr6 at = {
		.family = INET6,
		.ip = { to->ip[0], to->ip[1], to->ip[2], to->ip[3] },
	};
	long result = bind(ctx, &at, sizeof(at));
	if (result == 0) {
		__builtin_memset(at.ip, 0, sizeof(at.ip));
		bind(ctx, &at, sizeof(at));
	}
	if (result == -ADDRESS_NOT_AVAILABLE)
		return OTHER;
	/* One that has a port already is not heard out. */
	return result == -INVALID ? UNKNOWN : OWN;
}

/* Whether the dialler's namespace has a socket that would receive what goes there. One that
 * listens on all addresses does, whosever the address is. */
INLINE enum answer listens(struct bpf_sock_addr *ctx, const struct address *to, int v4)
{
	struct bpf_sock *found;
	if (v4) {
		struct tuple4 at = { .to = to->ip[3], .to_port = to->port };
		if (ctx->type == STREAM)
			found = lookup_tcp(ctx, &at, sizeof(at), THIS_NETNS, 0);
		else
			found = lookup_udp(ctx, &at, sizeof(at), THIS_NETNS, 0);
	} else {
		struct tuple6 at = {
			.to = { to->ip[0], to->ip[1], to->ip[2], to->ip[3] },
			.to_port = to->port,
		};
		if (ctx->type == STREAM)
			found = lookup_tcp(ctx, &at, sizeof(at), THIS_NETNS, 0);
		else
			found = lookup_udp(ctx, &at, sizeof(at), THIS_NETNS, 0);
	}
	if (!found)
		return OTHER;
	let_go(found);
	return OWN;
}

/* The backend in a slot, if the pool still has it. */
INLINE int local_of(__u32 slot, __u32 pool, int v4, struct backend *it)
{
	__u32 number;
	return slot_of(slot, &number) && backend_of(number, pool, v4, it);
}

/* Whether the dialler has the address of the backend in a slot: OWN or not, and UNSURE where it
 * could not be asked. */
INLINE int asked(struct bpf_sock_addr *ctx, __u32 slot, __u32 pool, int v4, enum how how)
{
	struct backend backend = {};
	if (!local_of(slot, pool, v4, &backend))
		return OTHER;
	enum answer answer = UNKNOWN;
	if (how == BIND4)
		answer = binds4(ctx, &backend.at);
	if (how == BIND6)
		answer = binds6(ctx, &backend.at);
	if (answer != UNKNOWN)
		return answer;
	return UNSURE | listens(ctx, &backend.at, v4);
}

/* One way of asking: for a slot, and for all of them until one is the dialler's own. The kernel
 * checks each of these functions once; else it would go through all that may happen at a slot again
 * for every slot, and for every way that leads there. */
#define WAY_OF_ASKING(name, v4, how)                                                    \
	CHECKED_ALONE int name##_one(struct bpf_sock_addr *ctx, __u32 slot, __u32 pool) \
	{                                                                               \
		return asked(ctx, slot, pool, v4, how);                                 \
	}                                                                               \
	CHECKED_ALONE int name(struct bpf_sock_addr *ctx, __u64 local, __u32 pool)      \
	{                                                                               \
		int all = OTHER;                                                        \
		for (__u32 i = 0; i < LOCALS && i < local >> 32 && !(all & OWN); i++)   \
			all |= name##_one(ctx, (__u32)local + i, pool);                 \
		return all;                                                             \
	}

WAY_OF_ASKING(bind_v4, 1, BIND4)
WAY_OF_ASKING(bind_mapped, 1, BIND6)
WAY_OF_ASKING(bind_v6, 0, BIND6)
WAY_OF_ASKING(listen_v4, 1, LISTEN)
WAY_OF_ASKING(listen_v6, 0, LISTEN)

INLINE int ask(struct bpf_sock_addr *ctx, __u64 local, __u32 pool, int v4, enum how how)
{
	if (how == LISTEN)
		return v4 ? listen_v4(ctx, local, pool) : listen_v6(ctx, local, pool);
	if (how == BIND4)
		return bind_v4(ctx, local, pool);
	return v4 ? bind_mapped(ctx, local, pool) : bind_v6(ctx, local, pool);
}

/* Whether one of the backends in these slots has that address: the same, one family at a time. The
 * kernel does not know that `source` is always there. */
#define WAY_OF_COMPARING(name, v4)                                                        \
	CHECKED_ALONE int name##_one(__u32 slot, __u32 pool, const struct address *source) \
	{                                                                                 \
		struct backend backend = {};                                              \
		return source && local_of(slot, pool, v4, &backend) &&                    \
		       !difference(source, &backend.at);                                  \
	}                                                                                 \
	CHECKED_ALONE int name(__u64 local, __u32 pool, const struct address *source)     \
	{                                                                                 \
		int found = 0;                                                            \
		for (__u32 i = 0; source && i < LOCALS && i < local >> 32 && !found; i++) \
			found = name##_one((__u32)local + i, pool, source);               \
		return found;                                                             \
	}

WAY_OF_COMPARING(is_among_v4, 1)
WAY_OF_COMPARING(is_among_v6, 0)

/* Whether the dialler is a backend of the pool itself. It is left to the tables beneath then, with
 * all that it dials there: they masquerade what comes back to it, and draw among all. `source` is
 * the address that the socket is bound to. */
INLINE int is_own(struct bpf_sock_addr *ctx, const struct pool *pool, const struct client *client,
		  int v4, const struct address *source, enum how how)
{
	if (client->netns == node_netns)
		return 0;
	/* In this order: the slots are at least as new as the generation. */
	__u32 generation = READ(pool->generation);
	__u64 local = *(volatile __u64 *)&pool->local;
	__u32 count = local >> 32;
	if (count == 0)
		return 0;
	int bound = source->ip[3] || source->ip[0] || source->ip[1];
	__u64 now = monotonic();
	struct kinship *known = bound ? 0 : map_get(&kin, client);
	if (known && known->generation == generation && now - known->seen <= KIN_NS)
		return known->own;
	/* Beyond, nobody looks. */
	__u32 own = count > LOCALS;
	if (bound && !own)
		own = v4 ? is_among_v4(local, client->pool, source) :
			   is_among_v6(local, client->pool, source);
	if (bound)
		return own;
	/* One that is bound to a device sees the addresses of that. */
	struct bpf_sock *sk = ctx->sk;
	int sure = sk && sk->bound_dev_if == 0;
	if (!own) {
		int answer = ask(ctx, local, client->pool, v4, how);
		sure &= !(answer & UNSURE);
		own = answer & OWN;
	}
	if (sure) {
		struct kinship found = { .generation = generation, .own = own, .seen = now };
		map_put(&kin, client, &found, 0);
	}
	return own;
}

/* The address that the socket is bound to; zeroes if it is not. Read through volatile, or the
 * compiler would choose between pointers into the socket, which the kernel does not allow. */
INLINE struct address source_of(struct bpf_sock_addr *ctx, int v4)
{
	struct address it = {};
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return it;
	__u32 ip4 = *(volatile __u32 *)&sk->src_ip4;
	__u32 ip6[4] = {
		*(volatile __u32 *)&sk->src_ip6[0],
		*(volatile __u32 *)&sk->src_ip6[1],
		*(volatile __u32 *)&sk->src_ip6[2],
		*(volatile __u32 *)&sk->src_ip6[3],
	};
	it.ip[0] = v4 ? 0 : ip6[0];
	it.ip[1] = v4 ? 0 : ip6[1];
	it.ip[2] = v4 ? MAPPED : ip6[2];
	it.ip[3] = v4 ? ip4 : ip6[3];
	return it;
}

/* Whether the network namespace is this node's or one of its pods'. One that nobody has looked at
 * yet is not, and asks to be looked at. */
INLINE int is_ours(__u64 netns)
{
	if (!shared_cgroup || netns == node_netns)
		return 1;
	__u32 *known = map_get(&namespaces, &netns);
	if (known)
		return *known == MEMBER;
	__u32 asked = ASKED;
	map_put(&namespaces, &netns, &asked, 0);
	return 0;
}
