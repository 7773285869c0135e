/* Gives each pod ports of its own without a network namespace: a bind to any address
 * (0.0.0.0 or ::) becomes a bind to the pod's address, which POD_BIND_ADDRESS names.
 * Preloaded into pods; programs that are linked statically do not see it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*bind_function)(int, const struct sockaddr *, socklen_t);

int bind(int fd, const struct sockaddr *address, socklen_t length) {
    static bind_function real;
    if (!real) real = (bind_function)dlsym(RTLD_NEXT, "bind");
    const char *pod = getenv("POD_BIND_ADDRESS");
    struct in_addr own;
    if (!pod || !address || inet_pton(AF_INET, pod, &own) != 1) return real(fd, address, length);
    if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof four);
        if (four.sin_addr.s_addr == htonl(INADDR_ANY)) {
            four.sin_addr = own;
            return real(fd, (const struct sockaddr *)&four, sizeof four);
        }
    } else if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof six);
        if (memcmp(&six.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0) {
            int off = 0;
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
            memset(&six.sin6_addr, 0, sizeof six.sin6_addr);
            six.sin6_addr.s6_addr[10] = 0xff;
            six.sin6_addr.s6_addr[11] = 0xff;
            memcpy(&six.sin6_addr.s6_addr[12], &own, sizeof own);
            return real(fd, (const struct sockaddr *)&six, sizeof six);
        }
    }
    return real(fd, address, length);
}
