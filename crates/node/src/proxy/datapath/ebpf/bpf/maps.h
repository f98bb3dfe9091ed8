/* What programs and the process that feeds them have in common. */
#pragma once
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

/* Two in one element of the array, or padding would cost a fourth part more. */
#define TOGETHER 2

struct slots {
	__u32 all[TOGETHER];
};

struct backend4 {
	__u32 ip;
	/* The port in the lower half; in the higher one the serial, another one whenever the number
	 * is given to another backend: they change together. */
	__u32 port_serial;
	/* Whose it is; a slot that was given to another pool meanwhile leads nowhere. 0: gone. */
	__u32 pool;
};

struct backends4 {
	struct backend4 all[TOGETHER];
};

struct backend6 {
	__u32 ip[4];
	__u32 port_serial;
	__u32 pool;
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
/* Among so many backends on this node the dialler's own is looked for: more than a node has pods by
 * default. The kernel follows every one of them when it checks a program. */
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
	TYPE(value, struct slots);
} slots SECTION(".maps");

struct {
	NUMBER(type, MAP_ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(map_flags, MMAPABLE);
	NUMBER(pinning, BY_NAME);
	TYPE(key, __u32);
	TYPE(value, struct backends4);
} backends4 SECTION(".maps");

struct {
	NUMBER(type, MAP_ARRAY);
	NUMBER(max_entries, 1);
	NUMBER(map_flags, MMAPABLE);
	NUMBER(pinning, BY_NAME);
	TYPE(key, __u32);
	TYPE(value, struct backend6);
} backends6 SECTION(".maps");

struct {
	NUMBER(type, MAP_LRU_HASH);
	NUMBER(max_entries, 1);
	NUMBER(pinning, BY_NAME);
	TYPE(key, struct client);
	TYPE(value, struct kept);
} affinity SECTION(".maps");

struct {
	NUMBER(type, MAP_LRU_HASH);
	NUMBER(max_entries, 4096);
	NUMBER(pinning, BY_NAME);
	TYPE(key, struct client);
	TYPE(value, struct kinship);
} kin SECTION(".maps");

/* Network namespaces that were met, where the cgroup is not this node's alone. */
struct {
	NUMBER(type, MAP_LRU_HASH);
	NUMBER(max_entries, 1);
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
	sizeof(struct slots),
	sizeof(struct backend4), OFFSET(struct backend4, port_serial), OFFSET(struct backend4, pool), sizeof(struct backends4),
	sizeof(struct backend6), OFFSET(struct backend6, port_serial), OFFSET(struct backend6, pool),
	sizeof(struct client), OFFSET(struct client, pool),
	sizeof(struct kept), OFFSET(struct kept, serial), OFFSET(struct kept, seen),
	sizeof(struct kinship),
	sizeof(struct peer), OFFSET(struct peer, backend),
	sizeof(struct talks),
	NODE_ONLY, RESERVED, LOCALS,
	ASKED, MEMBER, STRANGER,
};
