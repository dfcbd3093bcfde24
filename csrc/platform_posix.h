/* What systems with Unix sockets share of the platform contract: places, control streams, and a little of the rest. Included once by the
 * file of each such system, after what differs between them:
 *
 *     ferry__stream_socket, ferry__stream_accept    a stream socket, or one accepted: non-blocking, closed on exec, raises no SIGPIPE
 *     ferry__stream_tame                            makes an inherited one so
 *     ferry__bind_private                           binds to a path that this user alone may connect to; 0, or -1 and errno
 *     ferry__poll                                   poll, to the nanosecond or just beyond */
#ifndef FERRY__PLATFORM_POSIX_H
#define FERRY__PLATFORM_POSIX_H

#include "errors.h"
#include "layout.h"
#include "platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Where there are no such flags, ferry__stream_tame sees to the signal, and received descriptors are marked one by one. */
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0
#endif

static int ferry__stream_socket(void);
static int ferry__stream_accept(int listener);
static int ferry__stream_tame(int fd);
static int ferry__bind_private(int fd, const struct sockaddr_un *address);
static int ferry__poll(struct pollfd *polled, uint32_t count, int64_t timeout_ns);

/* With the zero at its end. A name takes up to 42 bytes of it, with the stroke before it. */
#define FERRY__SOCKET_PATH_BYTES ((int)sizeof(((struct sockaddr_un *)0)->sun_path))

/* ---- Processor ---- */

void ferry__platform_yield(void) { sched_yield(); }

static struct timespec ferry__timespec(int64_t ns) {
    struct timespec time;
    time.tv_sec = (time_t)(ns / 1000000000), time.tv_nsec = (long)(ns % 1000000000);
    return time;
}

void ferry__platform_nap(int64_t ns) {
    struct timespec time = ferry__timespec(ns);
    (void)nanosleep(&time, NULL);
}

uint32_t ferry__platform_pid(void) { return (uint32_t)getpid(); }

int ferry__platform_variable(const char *name, char *out, uint32_t out_bytes) {
    const char *text = getenv(name);
    *out = 0;
    if (text == NULL || *text == 0) return 0;
    if (strlen(text) < out_bytes) strcpy(out, text);
    else memset(out, '?', out_bytes - 1), out[out_bytes - 1] = 0;
    return 1;
}

/* ---- Memory ---- */

/* Words are slept on by their address. */
void ferry__platform_memory_settle(ferry__os *memory) {
    ferry__platform_close(*memory);
    *memory = FERRY__NO_OS;
}

int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
    /* The kernel would round up. */
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), whole = bytes - bytes % page;
    if (whole == 0 || mprotect(start, (size_t)whole, PROT_READ) == 0) return 0;
    return ferry__fail(why, FERRY_ESYSTEM, "mprotect failed: %s", strerror(errno));
}

void ferry__platform_memory_unmap(void *start, uint64_t bytes) { munmap(start, (size_t)bytes); }

/* ---- Places ---- */

int ferry__platform_is_path(const char *text) { return text[0] == '/'; }

/* Is it a directory that is this user's alone? In /tmp another may have made it, or a link that leads elsewhere a moment later. One that others
 * may open they can lock, which would keep names from being taken. */
static int ferry__check_directory(const char *path, ferry_why *why) {
    struct stat info;
    int found = lstat(path, &info) == 0;
    if (found && S_ISLNK(info.st_mode) && info.st_uid == geteuid()) found = stat(path, &info) == 0;
    if (found && info.st_uid != geteuid())
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' belongs to user %lu, not to you (%lu); set FERRY_RUNTIME_DIR to one that you own", path,
                           (unsigned long)info.st_uid, (unsigned long)geteuid());
    if (!found || !S_ISDIR(info.st_mode))
        return ferry__fail(why, FERRY_EADDRESS, "'%s' is not a directory; set FERRY_RUNTIME_DIR to one that you own", path);
    if ((info.st_mode & 077) != 0)
        return ferry__fail(why, FERRY_EADDRESS, "the directory '%s' is open to others; run chmod 700 on it, or set FERRY_RUNTIME_DIR",
                           path);
    return 1;
}

/* Candidates: the variable alone, if it is set; else the session's directory and /tmp. */
int ferry__platform_directory(int i, int make, char *out, uint32_t out_bytes, ferry_why *why) {
    const char *named = getenv("FERRY_RUNTIME_DIR"), *session = getenv("XDG_RUNTIME_DIR");
    int has_named = named != NULL && *named != 0, has_session = session != NULL && *session == '/';
    struct stat info;
    int length;
    if (i >= (has_named ? 1 : 1 + has_session)) return 0;
    if (has_named) length = snprintf(out, out_bytes, "%s", named);
    else if (has_session && i == 0) length = snprintf(out, out_bytes, "%s/ferry", session);
    else length = snprintf(out, out_bytes, "/tmp/ferry-%lu", (unsigned long)geteuid());
    if (out[0] != '/')
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' is not absolute, so that others would not find it; set FERRY_RUNTIME_DIR to one that is",
                           out);
    if (length < 0 || (uint32_t)length >= out_bytes || length > FERRY__SOCKET_PATH_BYTES - 43)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' has too long a path (%d bytes at most); set FERRY_RUNTIME_DIR to a shorter one", out,
                           FERRY__SOCKET_PATH_BYTES - 43);
    if (!make && lstat(out, &info) != 0) return 1; /* nobody has served there yet */
    if (make && mkdir(out, 0700) != 0 && errno != EEXIST)
        return ferry__fail(why, FERRY_EADDRESS, "could not make the directory '%s': %s; set FERRY_RUNTIME_DIR to one that you own", out,
                           strerror(errno));
    return ferry__check_directory(out, why);
}

static int ferry__address_of(const char *path, struct sockaddr_un *out) {
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof out->sun_path) return -1;
    strcpy(out->sun_path, path);
    return 0;
}

/* Connects a fresh non-blocking socket: the descriptor, or -errno. */
static int ferry__dial(const char *path) {
    struct sockaddr_un address;
    int fd, err;
    if (ferry__address_of(path, &address) != 0) return -ENAMETOOLONG;
    fd = ferry__stream_socket();
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    err = errno;
    close(fd);
    return -err;
}

/* Serialises check, unlink and bind among all who serve in a directory. A lock that a stopped process holds is not waited for long. */
static int ferry__lock_directory(const char *path) {
    char directory[128];
    char *slash;
    int fd, tries;
    snprintf(directory, sizeof directory, "%s", path);
    slash = strrchr(directory, '/');
    slash[slash == directory] = 0;
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    for (tries = 0; tries < 1000; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
        ferry__platform_nap(1000000);
    }
    close(fd);
    errno = ETIMEDOUT;
    return -1;
}

/* The link beside a socket: no name begins with a dot. */
static int ferry__shown_path(const char *path, char *out, size_t out_bytes) {
    const char *base = strrchr(path, '/') + 1;
    return snprintf(out, out_bytes, "%.*s.%s.map", (int)(base - path), path, base) < (int)out_bytes ? 0 : -1;
}

/* Removes a link; whatever else has its name is somebody's own. */
static void ferry__remove_link(const char *path) {
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) unlink(path);
}

/* Removes a name and the link beside it: 0, or -1 and errno. */
static int ferry__remove_name(const char *path) {
    char link[512];
    if (unlink(path) != 0 && errno != ENOENT) return -1;
    if (ferry__shown_path(path, link, sizeof link) == 0) ferry__remove_link(link);
    return 0;
}

void ferry__platform_each_name(const char *directory, int (*is_name)(const char *), void (*each)(void *user, const char *name),
                               void *user) {
    DIR *entries = opendir(directory);
    struct dirent *entry;
    char path[512];
    if (entries == NULL) return;
    while ((entry = readdir(entries)) != NULL) {
        struct stat info;
        int fd, lock;
        if (!is_name(entry->d_name) || snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) >= (int)sizeof path) continue;
        if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode)) continue;
        fd = ferry__dial(path);
        if (fd >= 0 || fd == -EAGAIN) each(user, entry->d_name);
        if (fd >= 0) close(fd);
        if (fd != -ECONNREFUSED || (lock = ferry__lock_directory(path)) < 0) continue;
        fd = ferry__dial(path); /* again, now that nobody can take the name meanwhile */
        if (fd >= 0) close(fd);
        if (fd == -ECONNREFUSED) (void)ferry__remove_name(path);
        close(lock);
    }
    closedir(entries);
}

/* ---- Control streams ---- */

int ferry__platform_listen(const char *path, ferry__listener *out, ferry_why *why) {
    struct sockaddr_un address;
    struct stat info;
    int lock = -1, fd = -1;
    out->os = FERRY__NO_OS;
    if (ferry__address_of(path, &address) != 0)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the path '%s' is longer than a socket's may be (%d bytes); choose a shorter one, or a name", path,
                           FERRY__SOCKET_PATH_BYTES - 1);
    strcpy(out->path, path);
    lock = ferry__lock_directory(path);
    if (lock < 0 && errno == ETIMEDOUT)
        return ferry__fail(why, FERRY_EADDRESS,
                           "another process has kept the directory of '%s' locked for a second; end it, or serve in a directory that is "
                           "yours alone, as names do",
                           path);
    if (lock < 0) return ferry__fail(why, FERRY_EADDRESS, "could not lock the directory of '%s': %s", path, strerror(errno));
    if (lstat(path, &info) == 0) {
        int holder;
        if (!S_ISSOCK(info.st_mode)) {
            ferry__fail(why, FERRY_EADDRESS, "'%s' exists and is not a socket; choose another address", path);
            goto fail;
        }
        holder = ferry__dial(path);
        if (holder >= 0 || holder == -EAGAIN) {
            uint32_t pid = 0;
            ferry_why ignored;
            if (holder >= 0) ferry__platform_peer(holder, &pid, &ignored);
            ferry__fail(why, FERRY_EINUSE, "'%s' is already served by the process %u; choose another name, or end that one", path, pid);
            if (holder >= 0) close(holder);
            goto fail;
        }
        if (holder != -ECONNREFUSED) {
            ferry__fail(why, FERRY_EADDRESS, "'%s' cannot be taken: %s", path, strerror(-holder));
            goto fail;
        }
        if (ferry__remove_name(path) != 0) {
            ferry__fail(why, FERRY_EADDRESS, "'%s' is a dead socket of user %lu and cannot be removed: %s; choose another address", path,
                        (unsigned long)info.st_uid, strerror(errno));
            goto fail;
        }
    }
    fd = ferry__stream_socket();
    if (fd < 0 || ferry__bind_private(fd, &address) != 0 || listen(fd, 64) != 0 || lstat(path, &info) != 0) {
        ferry__fail(why, errno == EACCES || errno == ENOENT ? FERRY_EADDRESS : FERRY_ESYSTEM, "could not listen on '%s': %s", path,
                    strerror(errno));
        goto fail;
    }
    out->identity[0] = (uint64_t)info.st_dev, out->identity[1] = (uint64_t)info.st_ino;
    out->os = fd;
    close(lock);
    return 0;
fail:
    if (fd >= 0) close(fd);
    close(lock);
    return why->code;
}

void ferry__platform_unlisten(ferry__listener *listener, int owner) {
    struct stat info;
    int lock;
    if (listener->os == FERRY__NO_OS) return;
    if (owner && (lock = ferry__lock_directory(listener->path)) >= 0) {
        if (lstat(listener->path, &info) == 0 && (uint64_t)info.st_dev == listener->identity[0] &&
            (uint64_t)info.st_ino == listener->identity[1])
            (void)ferry__remove_name(listener->path);
        close(lock);
    }
    close((int)listener->os);
    listener->os = FERRY__NO_OS;
}

int ferry__platform_accept(ferry__listener *listener, ferry__os *out, ferry_why *why) {
    int fd = ferry__stream_accept((int)listener->os);
    *out = FERRY__NO_OS;
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return 0;
    if (fd < 0) return ferry__fail(why, FERRY_ESYSTEM, "accept on '%s' failed: %s", listener->path, strerror(errno));
    *out = fd;
    return 1;
}

int ferry__platform_connect(const char *path, ferry__os *out, ferry_why *why) {
    int fd = ferry__dial(path);
    *out = FERRY__NO_OS;
    if (fd == -ENOENT || fd == -ECONNREFUSED || fd == -EAGAIN || fd == -ENOTDIR || fd == -EINTR) return 0;
    if (fd == -EACCES || fd == -EPERM || fd == -ENAMETOOLONG || fd == -EPROTOTYPE || fd == -ELOOP)
        return ferry__fail(why, FERRY_EADDRESS, "'%s' cannot be connected to: %s", path, strerror(-fd));
    if (fd < 0) return ferry__fail(why, FERRY_ESYSTEM, "connecting to '%s' failed: %s", path, strerror(-fd));
    *out = fd;
    return 1;
}

int ferry__platform_inherit(int64_t number, ferry__os *out, ferry_why *why) {
    int type = 0, fd = (int)number;
    socklen_t size = sizeof type, name_size = sizeof(struct sockaddr_un);
    struct sockaddr_un name;
    *out = FERRY__NO_OS;
    if (number < 0 || number > INT32_MAX || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        getsockname(fd, (struct sockaddr *)&name, &name_size) != 0 || name.sun_family != AF_UNIX)
        return ferry__fail(why, FERRY_EADDRESS,
                           "descriptor %lld is not an inherited Unix stream socket; was it closed before Ferry was opened?",
                           (long long)number);
    if (ferry__stream_tame(fd) != 0) return ferry__fail(why, FERRY_ESYSTEM, "fcntl on descriptor %d failed: %s", fd, strerror(errno));
    *out = fd;
    return 1;
}

/* Only processes of one user meet, and root's. */
static int ferry__peer_may(uid_t user, uint32_t pid, ferry_why *why) {
    if (user == geteuid() || user == 0) return 0;
    return ferry__fail(why, FERRY_EADDRESS, "the peer (pid %u) belongs to user %lu, not to you (%lu); Ferry joins processes of one user",
                       pid, (unsigned long)user, (unsigned long)geteuid());
}

int ferry__platform_send(ferry__os stream, const void *data, uint32_t bytes, ferry__os pass) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part;
    struct msghdr message;
    ssize_t sent;
    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    part.iov_base = (void *)(uintptr_t)data, part.iov_len = bytes;
    message.msg_iov = &part, message.msg_iovlen = 1;
    if (pass != FERRY__NO_OS) {
        int fd = (int)pass;
        struct cmsghdr *head;
        message.msg_control = control.bytes, message.msg_controllen = sizeof control.bytes;
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    do sent = sendmsg((int)stream, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)bytes ? 0 : FERRY_ECLOSED;
}

int ferry__platform_receive(ferry__os stream, void *data, uint32_t bytes, ferry__os *passed) {
    enum { MOST = 8 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
    } control;
    struct iovec part;
    struct msghdr message;
    struct cmsghdr *head;
    ssize_t got;
    size_t came = 0;
    memset(&message, 0, sizeof message);
    part.iov_base = data, part.iov_len = bytes;
    message.msg_iov = &part, message.msg_iovlen = 1;
    message.msg_control = control.bytes, message.msg_controllen = sizeof control.bytes;
    do got = recvmsg((int)stream, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (got == 0 || (got < 0 && (errno == ECONNRESET || errno == EPIPE))) return FERRY_ECLOSED;
    if (got < 0) return FERRY_ESYSTEM;
    for (head = CMSG_FIRSTHDR(&message); head != NULL; head = CMSG_NXTHDR(&message, head)) {
        size_t i, count = ((size_t)head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
        for (i = 0; i < count; i++, came++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            if (MSG_CMSG_CLOEXEC == 0) (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
            if (*passed == FERRY__NO_OS) *passed = fd;
            else close(fd);
        }
    }
    /* Descriptors were sent, and this process can have no more. */
    return came == 0 && (message.msg_flags & MSG_CTRUNC) != 0 ? FERRY_ESYSTEM : (int)got;
}

uint32_t ferry__platform_poll(const ferry__os *handles, uint32_t count, int64_t timeout_ns) {
    struct pollfd polled[8];
    uint32_t i, mask = 0;
    for (i = 0; i < count; i++) {
        polled[i].fd = (int)handles[i]; /* poll passes over -1 */
        polled[i].events = POLLIN;
        polled[i].revents = 0;
    }
    if (ferry__poll(polled, count, timeout_ns) <= 0) return 0;
    for (i = 0; i < count; i++)
        if (polled[i].revents != 0) mask |= 1u << i;
    return mask;
}

void ferry__platform_close(ferry__os handle) {
    if (handle != FERRY__NO_OS) close((int)handle);
}

#endif
