/* Addresses as the hooks have them. */
#pragma once
#include "maps.h"

#define MAPPED __builtin_bswap32(0xffff)

/* What differs between two addresses. Without branches: the kernel checks all ways through a
 * program, and each branch in a loop is many. */
INLINE __u32 difference(const struct address *a, const struct address *b)
{
	return (a->ip[0] ^ b->ip[0]) | (a->ip[1] ^ b->ip[1]) | (a->ip[2] ^ b->ip[2]) |
	       (a->ip[3] ^ b->ip[3]);
}

INLINE int same(const struct address *a, const struct address *b)
{
	return (difference(a, b) | (a->port ^ b->port)) == 0;
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
