/* What systems with Unix sockets share of the platform contract: places, control streams, and a little of the rest. Included once by the
 * file of each such system, after what differs between them:
 *
 *     ferry__credentials    whose process is at the other end of a stream socket: 0, or -1 and errno; the pid where it is known
 *     ferry__poll           poll, to the nanosecond or just beyond */
#ifndef FERRY__PLATFORM_POSIX_H
#define FERRY__PLATFORM_POSIX_H

#include "errors.h"
#include "layout.h"
#include "platform_common.h"

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

/* Where there are no such flags, ferry__tame sees to exec and to the signal, and received descriptors are marked one by one. */
#ifndef SOCK_CLOEXEC
#define SOCK_CLOEXEC 0
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0
#endif

static int ferry__credentials(int stream, uid_t *user, uint32_t *pid);
static int ferry__poll(struct pollfd *polled, uint32_t count, int64_t timeout_ns);

/* Closes a descriptor that is of no use: -1, and errno says still why. */
static int ferry__drop(int fd) {
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

void ferry__platform_says(char *out, uint32_t out_bytes) { snprintf(out, out_bytes, "%s", strerror(errno)); }

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
    snprintf(out, out_bytes, "%s", text != NULL ? text : "");
    return *out != 0;
}

/* ---- Memory ---- */

void *ferry__memory_view(ferry__os memory, size_t bytes, int writable) {
    void *start = mmap(NULL, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, (int)memory, 0);
    return start != MAP_FAILED ? start : NULL;
}

/* Words are slept on by their address. */
void ferry__platform_memory_settle(ferry__os *memory) {
    ferry__platform_close(*memory);
    *memory = FERRY__NO_OS;
}

int ferry__platform_memory_protect(void *start, uint64_t bytes, ferry_why *why) {
    /* The kernel would round up. */
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), whole = bytes - bytes % page;
    if (whole == 0 || mprotect(start, (size_t)whole, PROT_READ) == 0) return 0;
    return ferry__fail_os(why, FERRY_ESYSTEM, "mprotect failed");
}

void ferry__platform_memory_unmap(void *start, uint64_t bytes) { munmap(start, (size_t)bytes); }

/* ---- Places ---- */

int ferry__platform_is_path(const char *text) { return text[0] == '/'; }

int ferry__usual_directory(int i, char *out, uint32_t out_bytes) {
    const char *session = getenv("XDG_RUNTIME_DIR");
    int has_session = session != NULL && *session == '/';
    if (i < has_session) snprintf(out, out_bytes, "%s/ferry", session);
    else snprintf(out, out_bytes, "/tmp/ferry-%lu", (unsigned long)geteuid());
    return i <= has_session;
}

int ferry__make_directory(const char *path) { return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -1; }

/* In /tmp another may have made it, or a link that leads elsewhere a moment later. One that others may open they can lock, which would keep
 * names from being taken. */
int ferry__check_directory(char *path, int make, ferry_why *why) {
    struct stat info;
    if (lstat(path, &info) != 0) return !make; /* nobody has served there yet */
    if (S_ISLNK(info.st_mode) && info.st_uid == geteuid() && stat(path, &info) != 0) return 0;
    if (info.st_uid != geteuid())
        return ferry__fail(why, FERRY_EADDRESS,
                           "the directory '%s' belongs to user %lu, not to you (%lu); set FERRY_RUNTIME_DIR to one that you own", path,
                           (unsigned long)info.st_uid, (unsigned long)geteuid());
    if (S_ISDIR(info.st_mode) && (info.st_mode & 077) != 0)
        return ferry__fail(why, FERRY_EADDRESS, "the directory '%s' is open to others; run chmod 700 on it, or set FERRY_RUNTIME_DIR",
                           path);
    return S_ISDIR(info.st_mode);
}

static int ferry__address_of(const char *path, struct sockaddr_un *out) {
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof out->sun_path) return -1;
    strcpy(out->sun_path, path);
    return 0;
}

/* Makes a stream socket, of whatever origin, non-blocking, closed on exec, and raise no SIGPIPE. (Without SOCK_CLOEXEC what another thread
 * starts in between inherits it, and a peer that has died then seems to live until its process is found to have ended.) */
static int ferry__tame(int fd) {
#ifdef SO_NOSIGPIPE
    const int yes = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &yes, sizeof yes) != 0) return -1;
#endif
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fcntl(fd, F_SETFL, O_NONBLOCK) : -1;
}

static int ferry__stream_socket(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd < 0 || ferry__tame(fd) == 0 ? fd : ferry__drop(fd);
}

/* Connects a fresh socket: the descriptor, or -1 and errno. */
static int ferry__dial(const char *path) {
    struct sockaddr_un address;
    int fd;
    errno = ENAMETOOLONG;
    if (ferry__address_of(path, &address) != 0) return -1;
    fd = ferry__stream_socket();
    return fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : ferry__drop(fd);
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
    errno = ETIMEDOUT;
    return ferry__drop(fd);
}

/* The link beside a socket: no name begins with a dot. */
static void ferry__shown_path(const char *path, char out[2 * FERRY__MOST_PATH]) {
    const char *base = strrchr(path, '/') + 1;
    snprintf(out, 2 * FERRY__MOST_PATH, "%.*s.%s.map", (int)(base - path), path, base);
}

/* Removes a link; whatever else has its name is somebody's own. */
static void ferry__remove_link(const char *path) {
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) unlink(path);
}

/* Removes a name and the link beside it: 0, or -1 and errno. */
static int ferry__remove_name(const char *path) {
    char link[2 * FERRY__MOST_PATH];
    if (unlink(path) != 0 && errno != ENOENT) return -1;
    ferry__shown_path(path, link);
    ferry__remove_link(link);
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
        int fd, lock, err;
        if (!is_name(entry->d_name) || snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) >= (int)sizeof path) continue;
        if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode)) continue;
        fd = ferry__dial(path);
        err = errno;
        if (fd >= 0 || err == EAGAIN) each(user, entry->d_name);
        ferry__platform_close(fd);
        if (fd >= 0 || err != ECONNREFUSED || (lock = ferry__lock_directory(path)) < 0) continue;
        fd = ferry__dial(path); /* again, now that nobody can take the name meanwhile */
        if (fd < 0 && errno == ECONNREFUSED) (void)ferry__remove_name(path);
        ferry__platform_close(fd);
        close(lock);
    }
    closedir(entries);
}

/* ---- Control streams ---- */

/* Only processes of one user meet, and root's. */
int ferry__platform_peer(ferry__os stream, uint32_t *pid, ferry_why *why) {
    uid_t user;
    *pid = 0;
    if (ferry__credentials((int)stream, &user, pid) != 0) return ferry__fail_os(why, FERRY_ESYSTEM, "the peer's user is not known");
    if (user == geteuid() || user == 0) return 0;
    return ferry__fail(why, FERRY_EADDRESS, "the peer (pid %u) belongs to user %lu, not to you (%lu); Ferry joins processes of one user",
                       *pid, (unsigned long)user, (unsigned long)geteuid());
}

/* Removes what a dead server has left at a path: 0, or why the path cannot be had. */
static int ferry__clear_path(const char *path, ferry_why *why) {
    struct stat info;
    uint32_t pid = 0;
    ferry_why ignored;
    int holder;
    if (lstat(path, &info) != 0) return 0;
    if (!S_ISSOCK(info.st_mode)) return ferry__fail(why, FERRY_EADDRESS, "'%s' exists and is not a socket; choose another address", path);
    holder = ferry__dial(path);
    if (holder >= 0) {
        ferry__platform_peer(holder, &pid, &ignored);
        close(holder);
    }
    if (holder >= 0 || errno == EAGAIN)
        return ferry__fail(why, FERRY_EINUSE, "'%s' is already served by the process %u; choose another name, or end that one", path, pid);
    if (errno != ECONNREFUSED) return ferry__fail_os(why, FERRY_EADDRESS, "'%s' cannot be taken", path);
    if (ferry__remove_name(path) == 0) return 0;
    return ferry__fail(why, FERRY_EADDRESS, "'%s' is a dead socket of user %lu and cannot be removed: %s; choose another address", path,
                       (unsigned long)info.st_uid, strerror(errno));
}

int ferry__platform_listen(const char *path, ferry__listener *out, ferry_why *why) {
    struct sockaddr_un address;
    struct stat info;
    int lock, fd = -1, err;
    out->os = FERRY__NO_OS;
    if (ferry__address_of(path, &address) != 0)
        return ferry__fail(why, FERRY_EADDRESS,
                           "the path '%s' is longer than a socket's may be (%d bytes); choose a shorter one, or a name", path,
                           FERRY__MOST_PATH - 1);
    strcpy(out->path, path);
    lock = ferry__lock_directory(path);
    if (lock < 0 && errno == ETIMEDOUT)
        return ferry__fail(why, FERRY_EADDRESS,
                           "another process has kept the directory of '%s' locked for a second; end it, or serve in a directory that is "
                           "yours alone, as names do",
                           path);
    if (lock < 0) return ferry__fail_os(why, FERRY_EADDRESS, "could not lock the directory of '%s'", path);
    err = ferry__clear_path(path, why);
    if (err == 0) fd = ferry__stream_socket();
    /* Nobody can connect before it listens, so that the mode comes in time. */
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && chmod(path, 0600) == 0 && listen(fd, 64) == 0 &&
        lstat(path, &info) == 0) {
        out->identity[0] = (uint64_t)info.st_dev, out->identity[1] = (uint64_t)info.st_ino;
        out->os = fd;
    } else if (err == 0) {
        err = errno == EACCES || errno == ENOENT ? FERRY_EADDRESS : FERRY_ESYSTEM;
        ferry__fail_os(why, err, "could not listen on '%s'", path);
        ferry__platform_close(fd);
    }
    close(lock);
    return err;
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
#ifdef __APPLE__
    int fd = accept((int)listener->os, NULL, NULL);
#else
    int fd = accept4((int)listener->os, NULL, NULL, SOCK_CLOEXEC);
#endif
    *out = FERRY__NO_OS;
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return 0;
    if (fd < 0) return ferry__fail_os(why, FERRY_ESYSTEM, "accept on '%s' failed", listener->path);
    if (ferry__tame(fd) != 0) return close(fd), 0; /* a socket whose peer has left already may take no options */
    *out = fd;
    return 1;
}

int ferry__platform_connect(const char *path, ferry__os *out, ferry_why *why) {
    int fd = ferry__dial(path), err = errno;
    *out = fd;
    if (fd >= 0) return 1;
    if (err == ENOENT || err == ECONNREFUSED || err == EAGAIN || err == ENOTDIR || err == EINTR) return 0;
    err = err == EACCES || err == EPERM || err == ENAMETOOLONG || err == EPROTOTYPE || err == ELOOP ? FERRY_EADDRESS : FERRY_ESYSTEM;
    return ferry__fail_os(why, err, "'%s' cannot be connected to", path);
}

int ferry__platform_inherit(int64_t number, ferry__os *out, ferry_why *why) {
    int type = 0, fd = (int)number;
    socklen_t size = sizeof type, name_size = sizeof(struct sockaddr_un);
    struct sockaddr_un name;
    *out = FERRY__NO_OS;
    if (number < 0 || number > INT32_MAX || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
        getsockname(fd, (struct sockaddr *)&name, &name_size) != 0 || name.sun_family != AF_UNIX || ferry__tame(fd) != 0)
        return ferry__fail(why, FERRY_EADDRESS,
                           "descriptor %lld is not an inherited Unix stream socket; was it closed before Ferry was opened?",
                           (long long)number);
    *out = fd;
    return 1;
}

static struct msghdr ferry__message(struct iovec *part, const void *data, uint32_t bytes) {
    struct msghdr message;
    memset(&message, 0, sizeof message);
    part->iov_base = (void *)(uintptr_t)data, part->iov_len = bytes;
    message.msg_iov = part, message.msg_iovlen = 1;
    return message;
}

int ferry__platform_send(ferry__os stream, const void *data, uint32_t bytes, ferry__os pass) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part;
    struct msghdr message = ferry__message(&part, data, bytes);
    ssize_t sent;
    memset(&control, 0, sizeof control);
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
    struct msghdr message = ferry__message(&part, data, bytes);
    struct cmsghdr *head;
    ssize_t got;
    size_t came = 0;
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
