/* Services at the socket: see README.md one folder up.
 *
 * A socket of this node that dials a Service is handed a backend before the first packet, and
 * never notices: it hears from, and of, the address that it dialled. Whatever these programs do
 * not know, or find changing under their hands, they let pass untouched, and the nftables tables
 * beneath serve it. So no map here can make an answer wrong by missing something. */
#include "address.h"
#include "choice.h"
#include "dialler.h"

/* The pool of the frontend that is dialled, if this socket is served here, and who it is there. */
INLINE struct pool *find(struct bpf_sock_addr *ctx, struct address *dialled, int v4,
			 struct client *client)
{
	dialled->protocol = protocol(ctx);
	if (!dialled->protocol)
		return 0;
	struct frontend *frontend = map_get(&frontends, dialled);
	if (!frontend || from_loopback(ctx, v4))
		return 0;
	client->netns = netns_cookie(ctx);
	if ((frontend->flags & NODE_ONLY) && client->netns != node_netns)
		return 0;
	if (!is_ours(client->netns))
		return 0;
	client->pool = frontend->pool;
	return map_get(&pools, &client->pool);
}

/* connect(2): the backend is chosen once and for all. */
INLINE int dial(struct bpf_sock_addr *ctx, struct address *dialled, int v4, enum how how)
{
	int found = 0;
	struct backend backend = {};
	struct client client = {};
	struct pool *pool = find(ctx, dialled, v4, &client);
	if (pool) {
		struct address source = source_of(ctx, v4);
		found = !is_own(ctx, pool, &client, v4, &source, how) &&
			choose(pool, &client, v4, &backend);
	}
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 0;
	if (!found) {
		/* The socket may have been connected to a Service before. */
		struct peer *before = storage_get(&peers, sk, 0, 0);
		if (before) {
			__builtin_memset(before, 0, sizeof(*before));
			__u64 cookie = socket_cookie(ctx);
			map_delete(&connected, &cookie);
		}
		return 0;
	}
	struct peer peer = { .frontend = *dialled, .backend = backend.at };
	struct peer *stored = storage_get(&peers, sk, &peer, CREATE);
	/* Without memory of what was dialled the answers would come from a stranger. */
	if (!stored)
		return 0;
	*stored = peer;
	if (ctx->type == DATAGRAM) {
		__u64 cookie = socket_cookie(ctx);
		map_put(&connected, &cookie, &peer, 0);
	}
	*dialled = peer.backend;
	return 1;
}

/* What the socket has with a Service, or else what it can forget first. */
INLINE struct talk *talk_of(struct talks *talks, const struct address *dialled)
{
	struct talk *found = &talks->all[0];
#pragma unroll
	for (int i = 1; i < TALKS; i++) {
		struct talk *other = &talks->all[i];
		if (same(&found->frontend, dialled))
			continue;
		if (same(&other->frontend, dialled) || other->seen < found->seen)
			found = other;
	}
	return found;
}

/* sendmsg(2) on an unconnected socket: it stays with its backend while it goes on. */
INLINE int send_to(struct bpf_sock_addr *ctx, struct address *dialled, int v4,
		   const struct address *source)
{
	struct client client = {};
	struct pool *pool = find(ctx, dialled, v4, &client);
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 0;
	struct talks *talks = storage_get(&conversations, sk, 0, pool ? CREATE : 0);
	if (!talks)
		return 0;
	if (!pool) {
		/* Who is spoken to directly is to answer under its own name. */
#pragma unroll
		for (int i = 0; i < TALKS; i++)
			if (same(&talks->all[i].backend, dialled))
				talks->all[i].backend.port = 0;
		return 0;
	}
	__u64 now = monotonic();
	struct backend backend = {};
	struct talk *mine = talk_of(talks, dialled);
	if (same(&mine->frontend, dialled) && now - mine->seen <= TALK_NS &&
	    backend_of(mine->number, client.pool, v4, &backend) && backend.serial == mine->serial) {
		mine->seen = now;
		*dialled = backend.at;
		return 1;
	}
	if (is_own(ctx, pool, &client, v4, source, LISTEN))
		return 0;
	if (!choose(pool, &client, v4, &backend))
		return 0;
	mine = talk_of(talks, dialled);
	mine->frontend = *dialled;
	mine->backend = backend.at;
	mine->number = backend.number;
	mine->serial = backend.serial;
	mine->seen = now;
	*dialled = backend.at;
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
	if (dial(ctx, &it, 1, BIND4))
		write4(ctx, &it);
	return 1;
}

SECTION("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx)
{
	struct address it = read6(ctx);
	/* Each family with code of its own: the kernel checks all ways through it. */
	int changed = is_v4(&it) ? dial(ctx, &it, 1, BIND6) : dial(ctx, &it, 0, BIND6);
	if (changed)
		write6(ctx, &it);
	return 1;
}

SECTION("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct address it = read4(ctx);
	struct address source = {};
	source.ip[2] = MAPPED;
	source.ip[3] = ctx->msg_src_ip4;
	if (!is_loopback4(source.ip[3]) && send_to(ctx, &it, 1, &source))
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
	int changed = is_v4(&it) ? send_to(ctx, &it, 1, &source) : send_to(ctx, &it, 0, &source);
	if (changed)
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
