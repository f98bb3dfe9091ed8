/* Services at the socket: see README.md one folder up.
 *
 * A socket of this node that dials a Service is handed a backend before the first packet, and
 * never notices: it hears from, and of, the address that it dialled. Whatever these programs do
 * not know, or find changing under their hands, they let pass untouched, and the nftables tables
 * beneath serve it. So no map here can make an answer wrong by missing something. */
#include "kernel.h"

/* An address as IPv6; IPv4 as ::ffff:a.b.c.d. Everything in network order. */
struct address {
	__u32 ip[4];
	__u16 port;
	__u8 protocol;
	__u8 unused;
};

struct frontend {
	__u32 pool;
	__u32 flags;
};

/* Served here only to processes in the node's own network namespace. */
#define NODE_ONLY 1
/* Nothing to dial: the number is kept free of listeners on the node. */
#define RESERVED 2

struct pool {
	/* First slot in the low half, number of slots in the high one: they change together. */
	__u64 range;
	/* The same for the slots of those backends that are pods of this node, once more. */
	__u64 local;
	__u32 affinity;
	/* Another one whenever those are others. */
	__u32 generation;
};

struct backend {
	__u32 ip[4];
	__u16 port;
	__u16 unused;
	/* Whose it is; a slot that was given to another pool meanwhile leads nowhere. */
	__u32 pool;
	/* Tells apart those that had this number one after the other; 0: gone. */
	__u32 serial;
	__u32 unused2;
};

struct client {
	__u64 netns;
	__u32 pool;
	__u32 unused;
};

struct kept {
	__u32 backend;
	__u32 serial;
	__u64 seen;
};

/* Whether a client is one of the pool's backends itself. */
struct kinship {
	__u32 generation;
	__u32 own;
	__u64 seen;
};

/* What a connected socket dialled and what it got. */
struct peer {
	struct address frontend;
	struct address backend;
};

/* One Service that an unconnected socket sends to. */
struct talk {
	struct address frontend;
	struct address backend;
	__u32 number;
	__u32 serial;
	__u64 seen;
};

#define TALKS 4
struct talks {
	struct talk all[TALKS];
};

/* As long as netfilter remembers a UDP stream. */
#define TALK_NS (120ULL * 1000000000)
/* So long a namespace is trusted to have the addresses that it had. */
#define KIN_NS (30ULL * 1000000000)
/* Of so many backends on this node the dialler's own is looked for. */
#define LOCALS 128

/* What is known of a network namespace. */
#define ASKED 0
#define MEMBER 1
#define STRANGER 2

struct {
	NUMBER(type, MAP_HASH);
	NUMBER(max_entries, 1);
	NUMBER(map_flags, NO_PREALLOC);
	NUMBER(pinning, BY_NAME);
	TYPE(key, struct address);
	TYPE(value, struct frontend);
} frontends SECTION(".maps");

struct {
	NUMBER(type, MAP_ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(map_flags, MMAPABLE);
	NUMBER(pinning, BY_NAME);
	TYPE(key, __u32);
	TYPE(value, struct pool);
} pools SECTION(".maps");

struct {
	NUMBER(type, MAP_ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(map_flags, MMAPABLE);
	NUMBER(pinning, BY_NAME);
	TYPE(key, __u32);
	TYPE(value, __u32);
} slots SECTION(".maps");

struct {
	NUMBER(type, MAP_ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(map_flags, MMAPABLE);
	NUMBER(pinning, BY_NAME);
	TYPE(key, __u32);
	TYPE(value, struct backend);
} backends SECTION(".maps");

struct {
	NUMBER(type, MAP_LRU_HASH);
	NUMBER(max_entries, 16384);
	NUMBER(pinning, BY_NAME);
	TYPE(key, struct client);
	TYPE(value, struct kept);
} affinity SECTION(".maps");

struct {
	NUMBER(type, MAP_LRU_HASH);
	NUMBER(max_entries, 16384);
	NUMBER(pinning, BY_NAME);
	TYPE(key, struct client);
	TYPE(value, struct kinship);
} kin SECTION(".maps");

/* Network namespaces that were met, where the cgroup is not this node's alone. */
struct {
	NUMBER(type, MAP_LRU_HASH);
	NUMBER(max_entries, 4096);
	NUMBER(pinning, BY_NAME);
	TYPE(key, __u64);
	TYPE(value, __u32);
} namespaces SECTION(".maps");

/* Connected UDP sockets by cookie, for when their backend goes. */
struct {
	NUMBER(type, MAP_LRU_HASH);
	NUMBER(max_entries, 16384);
	NUMBER(pinning, BY_NAME);
	TYPE(key, __u64);
	TYPE(value, struct peer);
} connected SECTION(".maps");

struct {
	NUMBER(type, MAP_SK_STORAGE);
	NUMBER(map_flags, NO_PREALLOC);
	NUMBER(pinning, BY_NAME);
	TYPE(key, int);
	TYPE(value, struct peer);
} peers SECTION(".maps");

struct {
	NUMBER(type, MAP_SK_STORAGE);
	NUMBER(map_flags, NO_PREALLOC);
	NUMBER(pinning, BY_NAME);
	TYPE(key, int);
	TYPE(value, struct talks);
} conversations SECTION(".maps");

/* The cookie of the node's own network namespace. */
const volatile __u64 node_netns = 0;
/* Whether others than this node's processes are in the cgroup too. */
const volatile __u64 shared_cgroup = 0;

/* For the test that Rust has the same layouts. */
const __u16 layouts[] SECTION("layout") = {
	sizeof(struct address), OFFSET(struct address, port), OFFSET(struct address, protocol),
	sizeof(struct frontend), OFFSET(struct frontend, flags),
	sizeof(struct pool), OFFSET(struct pool, local), OFFSET(struct pool, affinity), OFFSET(struct pool, generation),
	sizeof(struct backend), OFFSET(struct backend, port), OFFSET(struct backend, pool), OFFSET(struct backend, serial),
	sizeof(struct client), OFFSET(struct client, pool),
	sizeof(struct kept), OFFSET(struct kept, serial), OFFSET(struct kept, seen),
	sizeof(struct kinship),
	sizeof(struct peer), OFFSET(struct peer, backend),
	sizeof(struct talks),
	NODE_ONLY, RESERVED,
	ASKED, MEMBER, STRANGER,
};

#define MAPPED __builtin_bswap32(0xffff)

INLINE int same(const struct address *a, const struct address *b)
{
	return a->ip[0] == b->ip[0] && a->ip[1] == b->ip[1] && a->ip[2] == b->ip[2] &&
	       a->ip[3] == b->ip[3] && a->port == b->port;
}

/* What is dialled, or named, by an IPv4 hook. */
INLINE struct address read4(struct bpf_sock_addr *ctx)
{
	struct address it = {};
	it.ip[2] = MAPPED;
	it.ip[3] = ctx->user_ip4;
	it.port = ctx->user_port;
	return it;
}

INLINE struct address read6(struct bpf_sock_addr *ctx)
{
	struct address it = {};
	it.ip[0] = ctx->user_ip6[0];
	it.ip[1] = ctx->user_ip6[1];
	it.ip[2] = ctx->user_ip6[2];
	it.ip[3] = ctx->user_ip6[3];
	it.port = ctx->user_port;
	return it;
}

INLINE void write4(struct bpf_sock_addr *ctx, const struct address *it)
{
	ctx->user_ip4 = it->ip[3];
	ctx->user_port = it->port;
}

INLINE void write6(struct bpf_sock_addr *ctx, const struct address *it)
{
	ctx->user_ip6[0] = it->ip[0];
	ctx->user_ip6[1] = it->ip[1];
	ctx->user_ip6[2] = it->ip[2];
	ctx->user_ip6[3] = it->ip[3];
	ctx->user_port = it->port;
}

INLINE int is_v4(const struct address *it)
{
	return it->ip[0] == 0 && it->ip[1] == 0 && it->ip[2] == MAPPED;
}

INLINE int is_loopback4(__u32 ip)
{
	return *(__u8 *)&ip == 127;
}

INLINE int is_loopback(const struct address *it)
{
	if (is_v4(it))
		return is_loopback4(it->ip[3]);
	return it->ip[0] == 0 && it->ip[1] == 0 && it->ip[2] == 0 &&
	       it->ip[3] == __builtin_bswap32(1);
}

/* Whether the socket is bound to a loopback address: from there only the tables beneath, which
 * masquerade, lead anywhere. */
INLINE int from_loopback(struct bpf_sock_addr *ctx, int v4)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 1;
	if (v4)
		return is_loopback4(sk->src_ip4);
	return sk->src_ip6[0] == 0 && sk->src_ip6[1] == 0 && sk->src_ip6[2] == 0 &&
	       sk->src_ip6[3] == __builtin_bswap32(1);
}

/* The protocol in terms of Services; 0: none of ours. */
INLINE __u8 protocol(struct bpf_sock_addr *ctx)
{
	if (ctx->type == STREAM && (ctx->protocol == TCP || ctx->protocol == MPTCP))
		return TCP;
	if (ctx->type == DATAGRAM && ctx->protocol == UDP)
		return UDP;
	return 0;
}

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

/* How the dialler can be asked whether an address is its own. */
enum how { BIND4, BIND6, LISTEN };
enum answer { UNKNOWN, OTHER, OWN };

/* Binding fails at once when the address is not the namespace's; what it did else is undone. */
INLINE enum answer binds4(struct bpf_sock_addr *ctx, const struct backend *to)
{
	struct sockaddr4 at = { .family = INET, .ip = to->ip[3] };
	long result = bind(ctx, &at, sizeof(at));
	if (result == 0) {
		at.ip = 0;
		bind(ctx, &at, sizeof(at));
	}
	return result == -ADDRESS_NOT_AVAILABLE ? OTHER : OWN;
}

INLINE enum answer binds6(struct bpf_sock_addr *ctx, const struct backend *to)
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
INLINE enum answer listens(struct bpf_sock_addr *ctx, const struct backend *to, __u8 protocol)
{
	struct bpf_sock *found;
	if (to->ip[0] == 0 && to->ip[1] == 0 && to->ip[2] == MAPPED) {
		struct tuple4 at = { .to = to->ip[3], .to_port = to->port };
		if (protocol == TCP)
			found = lookup_tcp(ctx, &at, sizeof(at), THIS_NETNS, 0);
		else
			found = lookup_udp(ctx, &at, sizeof(at), THIS_NETNS, 0);
	} else {
		struct tuple6 at = {
			.to = { to->ip[0], to->ip[1], to->ip[2], to->ip[3] },
			.to_port = to->port,
		};
		if (protocol == TCP)
			found = lookup_tcp(ctx, &at, sizeof(at), THIS_NETNS, 0);
		else
			found = lookup_udp(ctx, &at, sizeof(at), THIS_NETNS, 0);
	}
	if (!found)
		return OTHER;
	let_go(found);
	return OWN;
}

/* Whether the dialler is a backend of the pool itself. It is left to the tables beneath then, with
 * all that it dials there: they masquerade what comes back to it, and draw among all. `source` is
 * the address that the socket is bound to. */
INLINE int is_own(struct bpf_sock_addr *ctx, __u32 pool, __u64 netns, __u8 protocol,
		  const struct address *source, enum how how)
{
	struct pool *it = map_get(&pools, &pool);
	if (!it || netns == node_netns)
		return 0;
	/* In this order: the slots are at least as new as the generation. */
	__u32 generation = *(volatile __u32 *)&it->generation;
	__u64 local = *(volatile __u64 *)&it->local;
	__u32 count = local >> 32;
	if (count == 0)
		return 0;
	int bound = source->ip[3] || source->ip[0] || source->ip[1];
	struct client client = { .netns = netns, .pool = pool };
	__u64 now = 0;
	if (!bound) {
		now = monotonic();
		struct kinship *known = map_get(&kin, &client);
		if (known && known->generation == generation && now - known->seen <= KIN_NS)
			return known->own;
	}
	/* Beyond, nobody looks. */
	__u32 own = count > LOCALS;
	/* One that is bound to a device sees the addresses of that. */
	struct bpf_sock *sk = ctx->sk;
	int sure = sk && sk->bound_dev_if == 0;
	for (__u32 i = 0; i < LOCALS; i++) {
		if (i >= count || own)
			break;
		__u32 at = (__u32)local + i;
		__u32 *slot = map_get(&slots, &at);
		if (!slot)
			break;
		__u32 number = *(volatile __u32 *)slot;
		struct backend *backend = backend_of(number, pool);
		if (!backend)
			continue;
		if (bound) {
			own = source->ip[0] == backend->ip[0] && source->ip[1] == backend->ip[1] &&
			      source->ip[2] == backend->ip[2] && source->ip[3] == backend->ip[3];
			continue;
		}
		enum answer answer = UNKNOWN;
		if (how == BIND4)
			answer = binds4(ctx, backend);
		if (how == BIND6)
			answer = binds6(ctx, backend);
		if (answer == UNKNOWN) {
			sure = 0;
			answer = listens(ctx, backend, protocol);
		}
		own = answer == OWN;
	}
	if (!bound && sure) {
		struct kinship found = { .generation = generation, .own = own, .seen = now };
		map_put(&kin, &client, &found, 0);
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

/* The frontend that is dialled, if this socket is served here. */
INLINE struct frontend *find(struct bpf_sock_addr *ctx, struct address *dialled, __u64 *netns)
{
	dialled->protocol = protocol(ctx);
	if (!dialled->protocol)
		return 0;
	struct frontend *frontend = map_get(&frontends, dialled);
	if (!frontend || from_loopback(ctx, is_v4(dialled)))
		return 0;
	*netns = netns_cookie(ctx);
	if ((frontend->flags & NODE_ONLY) && *netns != node_netns)
		return 0;
	if (!is_ours(*netns))
		return 0;
	return frontend;
}

/* connect(2): the backend is chosen once and for all. */
INLINE int dial(struct bpf_sock_addr *ctx, struct address *dialled, enum how how)
{
	__u64 netns = 0;
	__u32 number = 0;
	struct backend *backend = 0;
	struct frontend *frontend = find(ctx, dialled, &netns);
	if (frontend) {
		__u32 pool = frontend->pool;
		backend = choose(pool, netns, &number);
		struct address source = source_of(ctx, is_v4(dialled));
		if (backend && is_own(ctx, pool, netns, dialled->protocol, &source, how))
			backend = 0;
	}
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 0;
	if (!backend) {
		/* The socket may have been connected to a Service before. */
		struct peer *before = storage_get(&peers, sk, 0, 0);
		if (before) {
			__builtin_memset(before, 0, sizeof(*before));
			__u64 cookie = socket_cookie(ctx);
			map_delete(&connected, &cookie);
		}
		return 0;
	}
	struct peer peer = { .frontend = *dialled, .backend = address_of(backend) };
	struct peer *stored = storage_get(&peers, sk, &peer, CREATE);
	/* Without memory of what was dialled the answers would come from a stranger. */
	if (!stored)
		return 0;
	*stored = peer;
	if (dialled->protocol == UDP) {
		__u64 cookie = socket_cookie(ctx);
		map_put(&connected, &cookie, &peer, 0);
	}
	*dialled = peer.backend;
	return 1;
}

/* sendmsg(2) on an unconnected socket: it stays with its backend while it goes on. */
INLINE int send_to(struct bpf_sock_addr *ctx, struct address *dialled, const struct address *source)
{
	__u64 netns = 0;
	struct frontend *frontend = find(ctx, dialled, &netns);
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 0;
	struct talks *talks = storage_get(&conversations, sk, 0, frontend ? CREATE : 0);
	if (!talks)
		return 0;
	if (!frontend) {
		/* Who is spoken to directly is to answer under its own name. */
#pragma unroll
		for (int i = 0; i < TALKS; i++)
			if (same(&talks->all[i].backend, dialled))
				talks->all[i].backend.port = 0;
		return 0;
	}
	__u32 pool = frontend->pool;
	__u64 now = monotonic();
	struct talk *mine = &talks->all[0];
#pragma unroll
	for (int i = 1; i < TALKS; i++) {
		struct talk *other = &talks->all[i];
		if (same(&mine->frontend, dialled))
			continue;
		if (same(&other->frontend, dialled) || other->seen < mine->seen)
			mine = other;
	}
	__u32 number = mine->number;
	struct backend *backend = 0;
	if (same(&mine->frontend, dialled) && now - mine->seen <= TALK_NS) {
		backend = backend_of(number, pool);
		if (backend && backend->serial != mine->serial)
			backend = 0;
	}
	if (!backend) {
		backend = choose(pool, netns, &number);
		if (backend && is_own(ctx, pool, netns, UDP, source, LISTEN))
			backend = 0;
	}
	if (!backend)
		return 0;
	mine->frontend = *dialled;
	mine->backend = address_of(backend);
	mine->number = number;
	mine->serial = backend->serial;
	mine->seen = now;
	*dialled = mine->backend;
	return 1;
}

/* recvmsg(2): who answers is whom the socket knows. */
INLINE int received(struct bpf_sock_addr *ctx, struct address *from)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk || protocol(ctx) != UDP)
		return 0;
	struct peer *peer = storage_get(&peers, sk, 0, 0);
	if (peer && same(&peer->backend, from)) {
		*from = peer->frontend;
		return 1;
	}
	struct talks *talks = storage_get(&conversations, sk, 0, 0);
	if (!talks)
		return 0;
#pragma unroll
	for (int i = 0; i < TALKS; i++) {
		if (same(&talks->all[i].backend, from)) {
			*from = talks->all[i].frontend;
			return 1;
		}
	}
	return 0;
}

/* getpeername(2) */
INLINE int named(struct bpf_sock_addr *ctx, struct address *peer_name)
{
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 0;
	struct peer *peer = storage_get(&peers, sk, 0, 0);
	if (!peer || !same(&peer->backend, peer_name))
		return 0;
	*peer_name = peer->frontend;
	return 1;
}

SECTION("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx)
{
	struct address it = read4(ctx);
	if (dial(ctx, &it, BIND4))
		write4(ctx, &it);
	return 1;
}

SECTION("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx)
{
	struct address it = read6(ctx);
	if (dial(ctx, &it, BIND6))
		write6(ctx, &it);
	return 1;
}

SECTION("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct address it = read4(ctx);
	struct address source = {};
	source.ip[2] = MAPPED;
	source.ip[3] = ctx->msg_src_ip4;
	if (!is_loopback4(source.ip[3]) && send_to(ctx, &it, &source))
		write4(ctx, &it);
	return 1;
}

SECTION("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *ctx)
{
	struct address it = read6(ctx);
	struct address source = {};
	source.ip[0] = ctx->msg_src_ip6[0];
	source.ip[1] = ctx->msg_src_ip6[1];
	source.ip[2] = ctx->msg_src_ip6[2];
	source.ip[3] = ctx->msg_src_ip6[3];
	if (send_to(ctx, &it, &source))
		write6(ctx, &it);
	return 1;
}

SECTION("cgroup/recvmsg4") int recvmsg4(struct bpf_sock_addr *ctx)
{
	struct address it = read4(ctx);
	if (received(ctx, &it))
		write4(ctx, &it);
	return 1;
}

SECTION("cgroup/recvmsg6") int recvmsg6(struct bpf_sock_addr *ctx)
{
	struct address it = read6(ctx);
	if (received(ctx, &it))
		write6(ctx, &it);
	return 1;
}

SECTION("cgroup/getpeername4") int getpeername4(struct bpf_sock_addr *ctx)
{
	struct address it = read4(ctx);
	if (named(ctx, &it))
		write4(ctx, &it);
	return 1;
}

SECTION("cgroup/getpeername6") int getpeername6(struct bpf_sock_addr *ctx)
{
	struct address it = read6(ctx);
	if (named(ctx, &it))
		write6(ctx, &it);
	return 1;
}

/* A socket that goes is not to be looked for later. */
SECTION("cgroup/sock_release") int release(struct bpf_sock *sk)
{
	if (sk->type == DATAGRAM && sk->protocol == UDP) {
		__u64 cookie = socket_cookie(sk);
		map_delete(&connected, &cookie);
	}
	return 1;
}

/* Whether the number is a node port's. Listening there would be in vain, the tables beneath take
 * all that comes. */
INLINE int is_reserved(struct bpf_sock_addr *ctx, const struct address *at, int v4)
{
	struct address any = {};
	any.ip[2] = v4 ? MAPPED : 0;
	any.port = at->port;
	any.protocol = protocol(ctx);
	struct frontend *frontend = map_get(&frontends, &any);
	return frontend && (frontend->flags & RESERVED);
}

SECTION("cgroup/bind4") int bind4(struct bpf_sock_addr *ctx)
{
	struct address at = read4(ctx);
	if (at.port == 0 || is_loopback(&at) || netns_cookie(ctx) != node_netns)
		return 1;
	if (!is_reserved(ctx, &at, 1))
		return 1;
	set_return(-ADDRESS_IN_USE);
	return 0;
}

SECTION("cgroup/bind6") int bind6(struct bpf_sock_addr *ctx)
{
	struct address at = read6(ctx);
	if (at.port == 0 || is_loopback(&at) || netns_cookie(ctx) != node_netns)
		return 1;
	int any = at.ip[0] == 0 && at.ip[1] == 0 && at.ip[2] == 0 && at.ip[3] == 0;
	int v4 = is_v4(&at);
	if (!((any || !v4) && is_reserved(ctx, &at, 0)) && !((any || v4) && is_reserved(ctx, &at, 1)))
		return 1;
	set_return(-ADDRESS_IN_USE);
	return 0;
}

char license_name[] SECTION("license") = "Apache-2.0";
