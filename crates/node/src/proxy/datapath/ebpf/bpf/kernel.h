/* The few words of Linux's BPF interface that socket.bpf.c needs: numbers and layouts of the
 * stable ABI (include/uapi/linux/bpf.h), declared here so that a build needs clang alone. */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
/* The kernel checks such a function by itself, whatever it is called with; needs type information. */
#define CHECKED_ALONE __attribute__((noinline))
#define OFFSET(type, field) __builtin_offsetof(type, field)

/* How a map is described in the section .maps: the type of each member carries the value. */
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, value) typeof(value) *name

enum {
	MAP_HASH = 1,
	MAP_ARRAY = 2,
	MAP_LRU_HASH = 9,
	MAP_SK_STORAGE = 24,
	/* map_flags */
	NO_PREALLOC = 1,
	MMAPABLE = 1 << 10,
	/* pinning */
	BY_NAME = 1,
	/* bpf_sk_storage_get */
	CREATE = 1,
};

enum {
	TCP = 6,
	UDP = 17,
	MPTCP = 262,
	STREAM = 1,
	DATAGRAM = 2,
	INET = 2,
	INET6 = 10,
	INVALID = 22,
	ADDRESS_IN_USE = 98,
	ADDRESS_NOT_AVAILABLE = 99,
};

/* struct sockaddr_in, struct sockaddr_in6; address and port in network order. */
struct sockaddr4 {
	__u16 family;
	__u16 port;
	__u32 ip;
	__u8 unused[8];
};

struct sockaddr6 {
	__u16 family;
	__u16 port;
	__u32 flow;
	__u32 ip[4];
	__u32 scope;
};

/* The two forms of struct bpf_sock_tuple, seen from who would receive. */
struct tuple4 {
	__u32 from;
	__u32 to;
	__u16 from_port;
	__u16 to_port;
};

struct tuple6 {
	__u32 from[4];
	__u32 to[4];
	__u16 from_port;
	__u16 to_port;
};

/* BPF_F_CURRENT_NETNS */
#define THIS_NETNS (~0ULL)

/* struct bpf_sock */
struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port;
};

/* struct bpf_sock_addr; addresses and ports are in network order. */
struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

static void *(*const map_get)(const void *map, const void *key) = (void *)1;
static long (*const map_put)(const void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*const map_delete)(const void *map, const void *key) = (void *)3;
static __u64 (*const monotonic)(void) = (void *)5;
static __u32 (*const random)(void) = (void *)7;
static __u64 (*const socket_cookie)(void *ctx) = (void *)46;
static long (*const bind)(struct bpf_sock_addr *ctx, const void *address, int length) = (void *)64;
static struct bpf_sock *(*const lookup_tcp)(void *ctx, const void *tuple, __u32 size, __u64 netns, __u64 flags) = (void *)84;
static struct bpf_sock *(*const lookup_udp)(void *ctx, const void *tuple, __u32 size, __u64 netns, __u64 flags) = (void *)85;
static long (*const let_go)(struct bpf_sock *sk) = (void *)86;
static void *(*const storage_get)(const void *map, void *sk, void *value, __u64 flags) = (void *)107;
static __u64 (*const netns_cookie)(void *ctx) = (void *)122;
static int (*const set_return)(int value) = (void *)187;
