#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""posix_diff.py DEVMOUNT CAPTURE

Does the same things in a bare folder and in a mounted one and compares what was
seen: results, errors, attributes, contents. Speaks TAP.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
CASES = []
OTHER = 65534  # nobody


def case(function):
    CASES.append(function)
    return function


def attempt(function, *args, **kwargs):
    """The result, or the name of the errno."""
    try:
        return function(*args, **kwargs)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)


def shape(st):
    """The attributes that two folders have in common."""
    size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
    return (oct(st.st_mode), st.st_nlink, st.st_uid, st.st_gid, size)


def look(path):
    return attempt(lambda: shape(os.lstat(path)))


def put(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
    os.write(fd, data)
    os.close(fd)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def tree(root):
    out = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            entry = [os.path.relpath(path, root), look(path)]
            if os.path.islink(path):
                entry.append(os.readlink(path))
            elif os.path.isfile(path):
                entry.append(attempt(get, path))
            out.append(entry)
    return out


class As:
    """As another user, in a child process; returns what function returned."""

    def __init__(self, uid, gid, groups=()):
        self.ids = uid, gid, list(groups)

    def __call__(self, function, *args):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(r)
            try:
                os.setgroups(self.ids[2])
                os.setresgid(self.ids[1], self.ids[1], self.ids[1])
                os.setresuid(self.ids[0], self.ids[0], self.ids[0])
                result = repr(attempt(function, *args))
            except BaseException as e:  # the parent must see it
                result = repr(e)
            os.write(w, result.encode())
            os._exit(0)
        os.close(w)
        with os.fdopen(r, "rb") as f:
            result = f.read().decode()
        os.waitpid(pid, 0)
        return result


@case
def files(root):
    p = root + "/f"
    out = [attempt(os.open, p, os.O_RDONLY)]
    put(p, b"hello")
    out += [look(p), get(p), attempt(os.open, p, os.O_CREAT | os.O_EXCL | os.O_RDWR)]
    fd = os.open(p, os.O_RDWR)
    out += [os.pwrite(fd, b"XY", 3), os.pread(fd, 99, 0), shape(os.fstat(fd)), look(p)]
    out += [os.pwrite(fd, b"far", 100000), shape(os.fstat(fd)), os.pread(fd, 10, 99995)]
    os.close(fd)
    put(p, b"short")
    out += [look(p), get(p)]
    for flags in (os.O_RDONLY, os.O_WRONLY):
        fd = os.open(p, flags)
        out += [attempt(os.read, fd, 3), attempt(os.write, fd, b"z"), attempt(os.fsync, fd)]
        out += [attempt(os.fdatasync, fd), attempt(os.ftruncate, fd, 2)]
        os.close(fd)
    out += [look(p), get(p), attempt(os.rmdir, p), attempt(os.listdir, p)]
    out += [attempt(os.open, p + "/x", os.O_RDONLY), attempt(os.mkdir, p)]
    out += [attempt(os.unlink, p), attempt(os.unlink, p), look(p)]
    out += [attempt(put, root + "/" + "n" * 255, b"1"), attempt(put, root + "/" + "n" * 256)]
    out += [attempt(os.lstat, root + "/" + "n" * 256)]
    return out + tree(root)


@case
def folders(root):
    out = [attempt(os.mkdir, root + "/a", 0o750), attempt(os.mkdir, root + "/a")]
    out += [look(root + "/a"), attempt(os.mkdir, root + "/a/b"), look(root + "/a")]
    put(root + "/a/b/f", b"1")
    out += [attempt(os.rmdir, root + "/a"), attempt(os.rmdir, root + "/a/b")]
    out += [attempt(os.unlink, root + "/a"), attempt(os.mkdir, root + "/x/y")]
    fd = os.open(root + "/a/b", os.O_RDONLY | os.O_DIRECTORY)
    out += [attempt(os.fsync, fd)]
    os.unlink(root + "/a/b/f")
    out += [attempt(os.rmdir, root + "/a/b"), sorted(os.listdir(fd)), os.fstat(fd).st_nlink]
    out += [attempt(os.open, "x", os.O_CREAT | os.O_RDWR, 0o644, dir_fd=fd)]
    os.close(fd)
    deep = root
    for i in range(30):
        deep += "/" + "d%03d" % i * 40
        os.mkdir(deep) if len(deep) < 4000 else None
        if len(deep) >= 3700:
            break
    put(deep + "/end", b"deep")
    return out + [get(deep + "/end")] + tree(root)


@case
def deeper_than_a_path(root):
    fd = os.open(root, os.O_RDONLY)
    for i in range(40):
        os.mkdir("d" * 200, dir_fd=fd)
        nxt = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = nxt
    f = os.open("f", os.O_CREAT | os.O_RDWR, 0o644, dir_fd=fd)
    os.write(f, b"deep")
    os.close(f)
    out = [os.listdir(fd), shape(os.stat("f", dir_fd=fd))]
    os.close(fd)
    out.append(subprocess.run(["rm", "-rf", root + "/" + "d" * 200]).returncode)
    return out + tree(root)


@case
def rename_matrix(root):
    out = []
    kinds = ["none", "file", "empty", "full", "link", "fifo"]

    def make(path, kind):
        if kind == "file":
            put(path, b"of " + os.path.basename(path).encode())
        elif kind in ("empty", "full"):
            os.mkdir(path)
            if kind == "full":
                put(path + "/in", b"in")
        elif kind == "link":
            os.symlink("target", path)
        elif kind == "fifo":
            os.mkfifo(path)

    for a in kinds:
        for b in kinds:
            for sub in ("", "/sub"):
                base = root + "/%s-%s%s" % (a, b, sub.replace("/", "-"))
                os.makedirs(base + sub)
                make(base + "/a", a)
                make(base + sub + "/b", b)
                out.append([a, b, sub, attempt(os.rename, base + "/a", base + sub + "/b")])
                out.append(look(base + "/a"))
    os.makedirs(root + "/p/q")
    out += [attempt(os.rename, root + "/p", root + "/p/q/r")]
    out += [attempt(os.rename, root + "/p/q", root + "/p")]
    return out + tree(root)


def renameat2(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")
    return 0


@case
def rename_noreplace(root):
    put(root + "/a", b"a")
    put(root + "/b", b"b")
    out = [attempt(renameat2, root + "/a", root + "/b", 1)]
    out += [attempt(renameat2, root + "/a", root + "/c", 1)]
    return out + tree(root)


@case
def rename_of_folders_in_use(root):
    os.makedirs(root + "/a/b/c")
    put(root + "/a/b/c/f", b"1")
    fd = os.open(root + "/a/b/c/f", os.O_RDWR)
    folder = os.open(root + "/a/b", os.O_RDONLY)
    os.rename(root + "/a", root + "/z")
    out = [look(root + "/a/b"), get(root + "/z/b/c/f"), os.listdir(folder)]
    os.rename(root + "/z/b/c", root + "/y")
    out += [os.pwrite(fd, b"new", 0), get(root + "/y/f"), os.listdir(folder)]
    os.rename(root + "/y/f", root + "/z/g")
    os.ftruncate(fd, 2)
    os.fchmod(fd, 0o600)
    out += [get(root + "/z/g"), look(root + "/z/g")]
    os.close(fd)
    os.close(folder)
    return out + tree(root)


@case
def unlinked_but_open(root):
    p = root + "/f"
    put(p, b"before")
    fd = os.open(p, os.O_RDWR)
    ro = os.open(p, os.O_RDONLY)
    path_fd = os.open(p, os.O_PATH)
    os.unlink(p)
    out = [shape(os.fstat(fd)), shape(os.fstat(path_fd)), os.pread(ro, 99, 0)]
    out += [os.pwrite(fd, b"after!", 3), os.pread(ro, 99, 0), shape(os.fstat(ro))]
    out += [attempt(os.ftruncate, fd, 4), attempt(os.fchmod, fd, 0o600), shape(os.fstat(fd))]
    put(p, b"another")
    again = os.open("/proc/self/fd/%d" % ro, os.O_RDWR)
    out += [os.pread(again, 99, 0), attempt(os.pwrite, again, b"A", 0), os.pread(fd, 99, 0)]
    out += [attempt(os.setxattr, fd, "user.x", b"1"), attempt(os.getxattr, fd, "user.x")]
    out += [attempt(os.utime, fd, ns=(10**18, 10**18)), os.fstat(fd).st_mtime_ns == 10**18]
    for f in (fd, ro, path_fd, again):
        os.close(f)
    return out + tree(root)


@case
def replaced_but_open(root):
    put(root + "/a", b"old")
    put(root + "/b", b"new")
    fd = os.open(root + "/a", os.O_RDWR)
    os.rename(root + "/b", root + "/a")
    out = [os.pread(fd, 9, 0), shape(os.fstat(fd)), get(root + "/a"), look(root + "/a")]
    os.write(fd, b"gone")
    out += [get(root + "/a"), os.pread(fd, 9, 0)]
    os.close(fd)
    return out + tree(root)


@case
def truncation(root):
    p = root + "/f"
    put(p, b"0123456789" * 1000)
    out = []
    for size in (5000, 20000, 0, 1, 4096, 4095, 100):
        os.truncate(p, size)
        data = get(p)
        out += [look(p), len(data), data[-10:], data[4990:5010]]
    fd = os.open(p, os.O_RDWR)
    out += [attempt(os.ftruncate, fd, 3), os.pread(fd, 99, 0), attempt(os.ftruncate, fd, 1 << 33)]
    out += [shape(os.fstat(fd)), os.pread(fd, 5, (1 << 33) - 5), attempt(os.ftruncate, fd, 0)]
    os.close(fd)
    out += [attempt(os.truncate, root + "/none", 1), attempt(os.truncate, root, 1)]
    put(p, b"x" * 10000)
    fd = os.open(p, os.O_RDONLY)
    w = os.open(p, os.O_WRONLY | os.O_TRUNC)
    out += [os.pread(fd, 10, 0), shape(os.fstat(fd))]
    os.write(w, b"again")
    out += [os.pread(fd, 10, 0), shape(os.fstat(fd))]
    os.close(fd)
    os.close(w)
    return out + tree(root)


@case
def mapped_files(root):
    p = root + "/f"
    put(p, b"a" * 10000)
    fd = os.open(p, os.O_RDWR)
    m = mmap.mmap(fd, 10000)
    out = [m[:3], m[9990:]]
    m[100:103] = b"XYZ"
    out += [os.pread(fd, 5, 99)]
    os.pwrite(fd, b"pq", 200)
    out += [m[199:203]]
    m.flush()
    out += [get(p)[99:104]]
    os.close(fd)
    m[0:2] = b"zz"
    m.flush()
    m.close()
    out += [get(p)[:5], look(p)]
    fd = os.open(p, os.O_RDONLY)
    m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    w = os.open(p, os.O_WRONLY)
    os.pwrite(w, b"late", 5000)
    out += [m[4999:5005]]
    m.close()
    os.close(w)
    m = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    m[0:1] = b"!"
    out += [get(p)[:2]]
    m.close()
    os.close(fd)
    return out


@case
def times_of_mapped_files(root):
    p = root + "/f"
    put(p, b"a" * 4096)
    os.utime(p, ns=(10**18, 10**18))
    out = [os.stat(p).st_mtime_ns]
    fd = os.open(p, os.O_RDWR)
    m = mmap.mmap(fd, 4096)
    m[0:1] = b"b"
    m.flush()
    m.close()
    os.fsync(fd)
    out += [os.fstat(fd).st_mtime_ns > 10**18]
    os.close(fd)
    out += [os.stat(p).st_mtime_ns > 10**18]
    return out


@case
def times(root):
    p = root + "/f"
    put(p, b"1")
    os.mkdir(root + "/d")
    os.symlink("f", root + "/l")
    out = []
    for name in ("f", "d", "l"):
        q = root + "/" + name
        os.utime(q, ns=(111 * 10**9 + 5, 222 * 10**9 + 7), follow_symlinks=False)
        st = os.lstat(q)
        out += [st.st_atime_ns if name != "l" else 0, st.st_mtime_ns]
    before = os.stat(p).st_mtime_ns
    os.utime(p)
    out += [os.stat(p).st_mtime_ns > before, abs(os.stat(p).st_mtime - time.time()) < 5]
    for change in (lambda: put(root + "/d/x"), lambda: os.unlink(root + "/d/x"),
                   lambda: os.mkdir(root + "/d/y"), lambda: os.rename(root + "/d/y", root + "/z")):
        os.utime(root + "/d", ns=(10**9, 10**9))
        change()
        out += [os.stat(root + "/d").st_mtime_ns > 10**10]
    os.utime(p, ns=(10**9, 10**9))
    fd = os.open(p, os.O_WRONLY)
    os.write(fd, b"2")
    out += [os.fstat(fd).st_mtime_ns > 10**10, os.stat(p).st_mtime_ns > 10**10]
    os.close(fd)
    os.utime(p, ns=(10**9, 10**9))
    os.truncate(p, 7)
    out += [os.stat(p).st_mtime_ns > 10**10]
    for change in (lambda: os.chmod(p, 0o600), lambda: os.link(p, p + "2"),
                   lambda: os.rename(p, p + "3"), lambda: os.unlink(p + "2")):
        st = os.stat(root + "/f3") if os.path.exists(root + "/f3") else os.stat(p)
        time.sleep(0.02)
        change()
        q = root + "/f3" if os.path.exists(root + "/f3") else p
        out += [os.stat(q).st_ctime_ns > st.st_ctime_ns]
    return out


def fallocate(fd, mode, off, length):
    f = libc.fallocate64
    f.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if f(fd, mode, off, length) < 0:
        raise OSError(ctypes.get_errno(), "fallocate")
    return 0


@case
def allocation(root):
    p = root + "/f"
    put(p, b"d" * 65536)
    fd = os.open(p, os.O_RDWR)
    out = [attempt(fallocate, fd, 3, 8192, 16384)]
    for off in (0, 4096, 8192, 12288, 30000, 65535, 65536, 200000):
        out += [attempt(os.lseek, fd, off, os.SEEK_DATA), attempt(os.lseek, fd, off, os.SEEK_HOLE)]
    for mode, off, length, pages in ((0, 0, 100000, 25), (1, 0, 200000, 49), (3, 4096, 8192, 47),
                                     (0x10, 20480, 4096, 47), (0x11, 90000, 50000, 47),
                                     (2, 0, 4096, 47)):
        out += [(mode, attempt(fallocate, fd, mode, off, length)), shape(os.fstat(fd))]
        data = get(p)
        # A file in many pieces has a block more, for the list of them.
        out += [len(data), data.count(b"d"), os.stat(p).st_blocks // 8 - pages in (0, 1)]
    out += [attempt(os.lseek, fd, -5, os.SEEK_END), attempt(os.lseek, fd, -5, os.SEEK_SET)]
    os.close(fd)
    out += [attempt(os.posix_fallocate, os.open(p, os.O_RDONLY), 0, 10)]
    return out


@case
def attributes_of_files(root):
    p = root + "/f"
    put(p, b"1")
    out = []
    for mode in (0, 0o777, 0o4755, 0o2755, 0o1644, 0o6711):
        os.chmod(p, mode)
        out.append(look(p))
    for uid, gid in ((5, 6), (-1, 7), (8, -1), (0, 0)):
        os.chmod(p, 0o6755)
        os.chown(p, uid, gid)
        out.append(look(p))
    os.mkdir(root + "/d", 0o2775)
    os.chmod(root + "/d", 0o3777)
    os.chown(root + "/d", 9, 9)
    out.append(look(root + "/d"))
    os.symlink("f", root + "/l")
    os.chown(root + "/l", 3, 3, follow_symlinks=False)
    return out + [look(root + "/l"), attempt(os.chmod, root + "/none", 0)] + tree(root)


@case
def extended_attributes(root):
    p = root + "/f"
    put(p, b"1")
    os.mkdir(root + "/d")
    os.symlink("f", root + "/l")
    out = []
    for q in (p, root + "/d"):
        out += [attempt(os.getxattr, q, "user.a"), attempt(os.setxattr, q, "user.a", b"v" * 100)]
        out += [attempt(os.getxattr, q, "user.a"), attempt(os.listxattr, q)]
        out += [attempt(os.setxattr, q, "user.a", b"", os.XATTR_CREATE)]
        out += [attempt(os.setxattr, q, "user.b", b"", os.XATTR_REPLACE)]
        out += [attempt(os.setxattr, q, "user.a", b"", os.XATTR_REPLACE), os.getxattr(q, "user.a")]
        out += [attempt(os.setxattr, q, "trusted.t", b"t"), sorted(attempt(os.listxattr, q))]
        out += [attempt(os.removexattr, q, "user.a"), attempt(os.removexattr, q, "user.a")]
        out += [attempt(os.setxattr, q, "nonsense", b"1"), attempt(os.setxattr, q, "user.", b"1")]
        out += [attempt(os.setxattr, q, "user.big", b"1" * 70000)]
        os.chmod(q, 0o777)
        out += [As(OTHER, OTHER)(os.listxattr, q), As(OTHER, OTHER)(os.getxattr, q, "trusted.t")]
    out += [attempt(os.setxattr, root + "/l", "user.a", b"1", follow_symlinks=False)]
    out += [attempt(os.setxattr, root + "/l", "trusted.a", b"1", follow_symlinks=False)]
    out += [attempt(os.getxattr, root + "/l", "trusted.a", follow_symlinks=False)]
    return out


@case
def hard_links(root):
    put(root + "/a", b"one")
    os.mkdir(root + "/d")
    os.link(root + "/a", root + "/b")
    os.link(root + "/a", root + "/d/c")
    out = [look(root + "/" + n) for n in ("a", "b", "d/c")]
    out += [len({os.stat(root + "/" + n).st_ino for n in ("a", "b", "d/c")})]
    fd = os.open(root + "/b", os.O_RDWR)
    os.write(fd, b"two")
    out += [get(root + "/a"), get(root + "/d/c")]
    os.unlink(root + "/b")
    out += [shape(os.fstat(fd)), look(root + "/a"), attempt(os.ftruncate, fd, 2)]
    os.chmod(root + "/d/c", 0o600)
    out += [look(root + "/a"), get(root + "/d/c")]
    os.unlink(root + "/a")
    out += [get(root + "/d/c"), look(root + "/d/c"), os.pread(fd, 9, 0)]
    os.truncate(root + "/d/c", 1)
    os.rename(root + "/d", root + "/e")
    out += [get(root + "/e/c"), shape(os.fstat(fd))]
    os.link(root + "/e/c", root + "/f")
    out += [attempt(os.rename, root + "/f", root + "/e/c"), attempt(os.link, root + "/e", root + "/g")]
    out += [attempt(os.link, root + "/e/c", root + "/f"), attempt(os.link, root + "/no", root + "/h")]
    os.unlink(root + "/e/c")
    os.unlink(root + "/f")
    out += [shape(os.fstat(fd))]
    os.close(fd)
    os.symlink("x", root + "/s")
    out += [attempt(os.link, root + "/s", root + "/t", follow_symlinks=False), look(root + "/t")]
    return out + tree(root)


@case
def symlinks(root):
    put(root + "/f", b"1")
    os.symlink("f", root + "/l")
    os.symlink("none", root + "/broken")
    os.symlink("loop", root + "/loop")
    os.symlink("/etc/hostname", root + "/abs")
    out = [get(root + "/l"), attempt(get, root + "/broken"), attempt(get, root + "/loop")]
    out += [attempt(os.open, root + "/l", os.O_RDONLY | os.O_NOFOLLOW), os.readlink(root + "/abs")]
    out += [attempt(os.symlink, "x", root + "/l"), attempt(os.symlink, "x" * 5000, root + "/m")]
    out += [attempt(os.symlink, "", root + "/m"), attempt(os.symlink, "y" * 4000, root + "/n")]
    put(root + "/broken", b"made")
    out += [attempt(os.readlink, root + "/f"), attempt(os.mkdir, root + "/l")]
    return out + tree(root)


@case
def special_files(root):
    out = [attempt(os.mkfifo, root + "/p", 0o640)]
    out += [attempt(os.mknod, root + "/s", stat.S_IFSOCK | 0o600)]
    out += [attempt(os.mknod, root + "/r", stat.S_IFREG | 0o4755), get(root + "/r")]
    r = os.open(root + "/p", os.O_RDONLY | os.O_NONBLOCK)
    w = os.open(root + "/p", os.O_WRONLY)
    os.write(w, b"through")
    out += [os.read(r, 99)]
    os.close(r)
    os.close(w)
    import socket
    s = socket.socket(socket.AF_UNIX)
    os.chdir(root)
    s.bind("sock")
    s.listen()
    c = socket.socket(socket.AF_UNIX)
    c.connect("sock")
    os.chdir("/")
    s.close()
    c.close()
    return out + [(n, look(root + "/" + n)) for n in sorted(os.listdir(root))]


@case
def reading_folders(root):
    names = ["n%05d" % i for i in range(3000)]
    for n in names:
        put(root + "/" + n)
    out = [sorted(os.listdir(root)) == names]
    libc.opendir.restype = ctypes.c_void_p
    libc.readdir.restype = ctypes.c_void_p
    for f in (libc.readdir, libc.telldir, libc.rewinddir, libc.closedir):
        f.argtypes = [ctypes.c_void_p]
    libc.telldir.restype = ctypes.c_long
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    d = libc.opendir(root.encode())

    def entry():
        e = libc.readdir(d)
        return ctypes.string_at(e + 19) if e else None

    first = []
    while (e := entry()) is not None:
        first.append(e)
    libc.rewinddir(d)
    again, marks = [], []
    while True:
        marks.append(libc.telldir(d))
        e = entry()
        if e is None:
            break
        again.append(e)
    out += [len(first), first == again, len(set(first)) == len(first)]
    r = random.Random(1)
    for i in [r.randrange(len(again)) for _ in range(300)]:
        libc.seekdir(d, marks[i])
        if entry() != again[i]:
            out.append("seek to %d" % i)
            break
    libc.rewinddir(d)
    seen = set()
    for i, n in enumerate(names):
        if i % 3 == 0:
            os.unlink(root + "/" + n)
    while (e := entry()) is not None:
        seen.add(e.decode())
    out += [seen >= {n for i, n in enumerate(names) if i % 3}]
    libc.closedir(d)
    with os.scandir(root) as it:
        out += [sum(e.stat(follow_symlinks=False).st_size == 0 for e in it)]
    out += [subprocess.run(["rm", "-rf", root + "/.", root], capture_output=True).returncode]
    out += [sorted(os.listdir(os.path.dirname(root))) and os.path.exists(root)]
    os.mkdir(root) if not os.path.exists(root) else None
    return out


@case
def a_big_folder(root):
    os.mkdir(root + "/big")
    for i in range(20000):
        os.close(os.open("%s/big/file-number-%05d" % (root, i), os.O_CREAT | os.O_WRONLY, 0o644))
    out = [len(os.listdir(root + "/big"))]
    r = subprocess.run(["ls", "-lU", root + "/big"], capture_output=True)
    out += [r.stdout.count(b"\n")]
    with os.scandir(root + "/big") as it:
        for i, e in enumerate(it):
            if i % 2:
                os.unlink(e.path)
    out += [10000 == len(os.listdir(root + "/big"))]
    shutil.rmtree(root + "/big")
    return out + tree(root)


@case
def permissions(root):
    os.chmod(root, 0o755)
    put(root + "/mine", b"secret", 0o600)
    put(root + "/read", b"public", 0o644)
    os.mkdir(root + "/open")
    os.chmod(root + "/open", 0o777)
    os.mkdir(root + "/sticky")
    os.chmod(root + "/sticky", 0o1777)
    os.mkdir(root + "/closed", 0o700)
    put(root + "/closed/in", b"1")
    put(root + "/sticky/roots", b"1")
    os.mkdir(root + "/group")
    os.chown(root + "/group", 0, 4242)
    os.chmod(root + "/group", 0o2775)
    other = As(OTHER, OTHER)
    member = As(OTHER, OTHER, [4242])
    out = [other(get, root + "/mine"), other(get, root + "/read")]
    out += [other(put, root + "/read", b"x"), other(put, root + "/new", b"x")]
    out += [other(get, root + "/closed/in"), other(os.listdir, root + "/closed")]
    out += [other(os.stat, root + "/closed/in"), other(put, root + "/open/his", b"1")]
    out += [other(os.mkdir, root + "/open/hisdir"), other(os.symlink, "x", root + "/open/hislink")]
    out += [other(os.mkfifo, root + "/open/hisfifo"), other(os.unlink, root + "/sticky/roots")]
    out += [other(os.rename, root + "/sticky/roots", root + "/sticky/x")]
    out += [other(os.chmod, root + "/read", 0o777), other(os.chown, root + "/open/his", 1, 1)]
    out += [other(os.chmod, root + "/open/his", 0o6755), other(os.utime, root + "/read")]
    out += [other(os.truncate, root + "/read", 1), other(os.truncate, root + "/open/his", 3)]
    out += [member(put, root + "/group/file", b"1"), member(os.mkdir, root + "/group/dir")]
    out += [other(put, root + "/group/no", b"1"), member(os.chmod, root + "/group/file", 0o2755)]
    out += [other(os.access, root + "/mine", os.R_OK), other(os.access, root + "/read", os.R_OK)]
    out += [other(os.setxattr, root + "/read", "user.x", b"1")]
    out += [other(os.mknod, root + "/open/dev", stat.S_IFCHR | 0o666, os.makedev(1, 3))]
    return out + tree(root)


@case
def setuid_bits(root):
    os.chmod(root, 0o777)
    out = []
    for mode in (0o4777, 0o2777, 0o6777, 0o2767):
        p = root + "/m%o" % mode
        put(p, b"1234")
        os.chmod(p, mode)

        def write():
            fd = os.open(p, os.O_WRONLY)
            os.write(fd, b"x")
            seen = oct(os.fstat(fd).st_mode)
            os.close(fd)
            return seen

        out += [write(), As(OTHER, OTHER)(write), look(p)]
        if not mode & 0o010:
            continue  # what the kernel does then depends on libfuse
        os.chmod(p, mode)
        out += [As(OTHER, OTHER)(os.truncate, p, 2), look(p)]
        os.chmod(p, mode)
        out += [attempt(os.truncate, p, 1), look(p)]
        os.chown(p, OTHER, OTHER)
        os.chmod(p, mode)
        out += [As(OTHER, OTHER)(os.chown, p, -1, OTHER), look(p)]
    return out


@case
def umask_and_creation_modes(root):
    out = []
    for mask in (0, 0o22, 0o77, 0o777):
        os.umask(mask)
        for mode in (0o777, 0o666, 0o4777, 0):
            p = root + "/%o-%o" % (mask, mode)
            os.close(os.open(p, os.O_CREAT | os.O_RDWR, mode))
            os.mkdir(p + "d", mode)
            out += [look(p), look(p + "d")]
    os.umask(0o22)
    return out


@case
def appending(root):
    p = root + "/f"
    put(p, b"start")
    a = os.open(p, os.O_WRONLY | os.O_APPEND)
    b = os.open(p, os.O_RDWR | os.O_APPEND)
    out = []
    for i in range(50):
        os.write(a, b"a%d" % i)
        os.write(b, b"b%d" % i)
    os.pwrite(b, b"!", 0)
    os.close(a)
    os.close(b)
    out += [get(p)]

    def append(letter):
        fd = os.open(p, os.O_WRONLY | os.O_APPEND)
        for _ in range(500):
            os.write(fd, letter * 7)
        os.close(fd)

    pids = []
    for letter in b"wxyz":
        pid = os.fork()
        if pid == 0:
            append(bytes([letter]))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    data = get(p)
    return out + [len(data)] + [data.count(bytes([c])) for c in b"wxyz"]


@case
def direct_io(root):
    p = root + "/f"
    put(p, b"q" * 16384)
    out = []
    fd = attempt(os.open, p, os.O_RDWR | os.O_DIRECT)
    if isinstance(fd, str):
        return [fd]
    m = mmap.mmap(-1, 8192)
    out += [os.preadv(fd, [m], 4096), m[:3]]
    m[:] = b"D" * 8192
    out += [os.pwritev(fd, [m], 8192), shape(os.fstat(fd))]
    plain = os.open(p, os.O_RDWR)
    out += [os.pread(plain, 4, 8190), os.pwrite(plain, b"buffered", 0), os.preadv(fd, [m], 0), m[:9]]
    os.close(plain)
    os.close(fd)
    return out + [get(p) == b"buffered" + b"q" * 8184 + b"D" * 8192]


@case
def copying(root):
    put(root + "/a", bytes(range(256)) * 1000)
    put(root + "/b", b"")
    a, b = os.open(root + "/a", os.O_RDONLY), os.open(root + "/b", os.O_RDWR)
    n = 0
    while n < 256000:
        k = os.copy_file_range(a, b, 256000 - n)
        if k == 0:
            break
        n += k
    out = [n, get(root + "/b") == get(root + "/a"), shape(os.fstat(b))]
    out += [attempt(os.copy_file_range, a, b, 100, 50, 10), get(root + "/b")[:120]]
    os.lseek(a, 0, 0)
    out += [os.sendfile(b, a, 0, 1000), shape(os.fstat(b))]
    os.close(a)
    os.close(b)
    for tool in (["cp", "-a"], ["cp", "--sparse=always"], ["dd", "status=none"]):
        args = [root + "/a", root + "/c"]
        if tool[0] == "dd":
            args = ["if=" + args[0], "of=" + args[1], "bs=64k"]
        out += [subprocess.run(tool + args).returncode, get(root + "/c") == get(root + "/a")]
    return out + [look(root + "/c")]


@case
def locks(root):
    p = root + "/f"
    put(p, b"1")
    fd = os.open(p, os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
    out = [As(0, 0)(lambda: fcntl.lockf(os.open(p, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 0))]
    out += [As(0, 0)(lambda: fcntl.lockf(os.open(p, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 20))]
    fcntl.flock(fd, fcntl.LOCK_EX)
    out += [attempt(fcntl.flock, os.open(p, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)]
    os.close(fd)
    return out


@case
def odds_and_ends(root):
    put(root + "/f", b"1")
    fd = os.open(root + "/f", os.O_RDWR)
    buf = bytearray(8)
    out = [attempt(fcntl.ioctl, fd, 0x5401, buf)]
    os.close(fd)
    out += [os.statvfs(root).f_namemax, os.statvfs(root).f_bsize]
    out += [attempt(os.listdir, root + "/f/.."), attempt(os.stat, root + "/./f").st_size]
    for name in (".", "..", "a b", "a\nb", "\udc80\udcff", "ü", "-x", "..."):
        out += [(name, attempt(os.mkdir, root + "/" + name))]
    out += [attempt(os.rename, root + "/f", root + "/f"), attempt(os.rename, root + "/.", root + "/q")]
    return out + tree(root)


@case
def executing(root):
    shutil.copy("/bin/true", root + "/prog")
    out = [subprocess.run([root + "/prog"]).returncode]
    with open(root + "/script", "w") as f:
        f.write("#!/bin/sh\necho from script\n")
    os.chmod(root + "/script", 0o755)
    out += [subprocess.run([root + "/script"], capture_output=True).stdout]
    shutil.copy("/bin/sleep", root + "/sleep")
    p = subprocess.Popen([root + "/sleep", "5"])
    out += [attempt(os.open, root + "/sleep", os.O_WRONLY)]
    p.kill()
    p.wait()
    return out


@case
def random_writes(root):
    r = random.Random(7)
    p = root + "/f"
    model = bytearray()
    fds = [os.open(p, os.O_CREAT | os.O_RDWR, 0o644) for _ in range(3)]
    for step in range(1500):
        fd = r.choice(fds)
        what = r.random()
        if what < 0.5:
            off, data = r.randrange(200000), r.randbytes(r.randrange(1, 20000))
            os.pwrite(fd, data, off)
            if off > len(model):
                model.extend(bytes(off - len(model)))
            model[off:off + len(data)] = data
        elif what < 0.8:
            off, n = r.randrange(200000), r.randrange(20000)
            if os.pread(fd, n, off) != bytes(model[off:off + n]):
                return ["differs at step %d" % step]
        elif what < 0.9:
            size = r.randrange(200000)
            os.ftruncate(fd, size)
            model = model[:size] + bytes(max(0, size - len(model)))
        elif what < 0.95:
            off, n = r.randrange(200000), r.randrange(1, 20000)
            if len(model) > off:
                fallocate(fd, 3, off, n)
                end = min(off + n, len(model))
                model[off:end] = bytes(max(0, end - off))
        else:
            fds.remove(fd)
            os.close(fd)
            fds.append(os.open(p, os.O_RDWR))
        if os.fstat(fds[0]).st_size != len(model):
            return ["size differs at step %d" % step]
    ok = get(p) == bytes(model)
    for fd in fds:
        os.close(fd)
    return [ok, get(p) == bytes(model)]


@case
def many_at_once(root):
    """Creates, renames, unlinks and reads from several processes."""
    def work(seed):
        r = random.Random(seed)
        dirs = [root + "/d%d" % i for i in range(4)]
        for _ in range(1500):
            a = "%s/f%d" % (r.choice(dirs), r.randrange(20))
            b = "%s/f%d" % (r.choice(dirs), r.randrange(20))
            op = r.randrange(9)
            try:
                if op == 0:
                    put(a, b"%d" % seed * 100)
                elif op == 1:
                    os.unlink(a)
                elif op == 2:
                    os.rename(a, b)
                elif op == 3:
                    os.link(a, b)
                elif op == 4:
                    data = get(a)
                    if len(set(data)) > 1:
                        return "mixed content"
                elif op == 5:
                    os.listdir(r.choice(dirs))
                elif op == 6:
                    os.rename(r.choice(dirs), r.choice(dirs))
                elif op == 7:
                    os.mkdir(r.choice(dirs))
                else:
                    fd = os.open(a, os.O_RDWR)
                    os.unlink(a)
                    os.fstat(fd)
                    os.close(fd)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    return "%s in op %d" % (errno.errorcode[e.errno], op)
        return "fine"

    for i in range(4):
        os.mkdir(root + "/d%d" % i)
    results = []

    def run(seed):
        results.append(As(0, 0)(work, seed))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    shutil.rmtree(root + "/d0", ignore_errors=True)
    return results


def compare(function, bare, mounted):
    expected = function(bare)
    seen = function(mounted)

    def strip(value, root):
        return repr(value).replace(root, "ROOT")

    if len(expected) != len(seen):
        return ["%d results, expected %d" % (len(seen), len(expected))] + [
            "last: expected %r\n#   saw %r" % (expected[-3:], seen[-3:])]
    return ["result %d: expected %s\n#   saw %s" % (i, strip(a, bare)[:600], strip(b, mounted)[:600])
            for i, (a, b) in enumerate(zip(expected, seen)) if strip(a, bare) != strip(b, mounted)]


def unmount(path):
    for _ in range(100):
        if subprocess.run(["umount", path], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "-f", "-l", path])


def main():
    devmount, capture = sys.argv[1:3]
    wanted = sys.argv[3:]
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("1..0 # SKIP needs root and /dev/fuse")
        return 0
    os.umask(0o22)
    work = tempfile.mkdtemp(prefix="replitedfs-test-")
    os.chmod(work, 0o755)
    bare, mounted = work + "/bare", work + "/mounted"
    os.mkdir(bare)
    os.mkdir(mounted)
    r = subprocess.run([devmount, "-c", capture, "-o", "allow_other", mounted])
    if r.returncode != 0:
        print("Bail out! cannot mount")
        return 1
    signal.alarm(1200)
    cases = [c for c in CASES if not wanted or c.__name__ in wanted]
    failed = 0
    print("1..%d" % len(cases))
    try:
        for i, function in enumerate(cases):
            a, b = (root + "/" + function.__name__ for root in (bare, mounted))
            os.mkdir(a)
            os.mkdir(b)
            try:
                differences = compare(function, a, b)
            except Exception as e:  # pylint: disable=broad-except
                import traceback
                differences = [traceback.format_exc().replace("\n", "\n# ")]
            failed += bool(differences)
            print("%sok %d - %s" % ("not " if differences else "", i + 1, function.__name__))
            for d in differences[:8]:
                print("# " + d)
            sys.stdout.flush()
    finally:
        log = ""
        try:
            unmount(mounted)
            log = open(mounted + "/.replitedfs/devlog").read()
        except OSError:
            pass
        for line in log.splitlines():
            if " error " in line or " warn " in line:
                print("# log: " + line)
        shutil.rmtree(work, ignore_errors=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
