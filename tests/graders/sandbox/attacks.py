"""Answers that attack: how each is called, its code, and how it must end.

Each defines `attack(target)`. It returns "escaped" if it got what it wanted, and lets the error through if it did not.
`ends` is what the grader's reason must say at full isolation: the kind of failure and words of the error; "another
result" is a run that ended well, with a value that is not the expected one.
"""

from dataclasses import dataclass
from textwrap import dedent


@dataclass(frozen=True)
class Attack:
    name: str
    ends: str
    code: str


LIBC = """
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    def checked(result):
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return "escaped"
"""

_RAW = {
    "network, TCP": (
        r"forbidden: PermissionError",
        """
        import socket
        def attack(target):
            socket.create_connection(("127.0.0.1", target["tcp"]), timeout=2).sendall(b"escaped")
            return "escaped"
        """,
    ),
    "network, UDP": (
        r"forbidden: PermissionError",
        """
        import socket
        def attack(target):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"escaped", ("127.0.0.1", target["udp"]))
            return "escaped"
        """,
    ),
    "network, a socket with a path": (
        r"forbidden: PermissionError",
        """
        import socket
        def attack(target):
            socket.socket(socket.AF_UNIX).connect(target["unix"])
            return "escaped"
        """,
    ),
    "network, an abstract socket": (
        r"forbidden: PermissionError",
        """
        import socket
        def attack(target):
            socket.socket(socket.AF_UNIX).connect(target["abstract"])
            return "escaped"
        """,
    ),
    "network, a datagram from a socket pair": (
        r"forbidden: PermissionError",
        """
        import socket
        def attack(target):
            socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"escaped", target["unix"])
            return "escaped"
        """,
    ),
    "network, netlink": (
        r"forbidden: PermissionError",
        """
        import socket
        def attack(target):
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
            return "escaped"
        """,
    ),
    "network, a name": (
        r"(exception: gaierror|forbidden)",
        """
        import socket
        def attack(target):
            socket.getaddrinfo("example.invalid", 80)
            return "escaped"
        """,
    ),
    "fork bomb": (
        r"forbidden: PermissionError",
        """
        import os
        def attack(target):
            while True:
                os.fork()
        """,
    ),
    "thread bomb": (
        r"(exception: RuntimeError: can't start new thread|memory)",
        """
        import threading, time
        def attack(target):
            while True:
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        """,
    ),
    "a shell": (
        r"(forbidden|exception: FileNotFoundError)",
        """
        import subprocess
        def attack(target):
            subprocess.run(["/bin/sh", "-c", "id"], check=True)
            return "escaped"
        """,
    ),
    "another program in its place": (
        r"(forbidden|exception: FileNotFoundError)",
        """
        import os, sys
        def attack(target):
            os.execv(target["python"], [target["python"], "-c", "print(1)"])
        """,
    ),
    "a program from memory": (
        r"forbidden: PermissionError",
        """
        import os
        def attack(target):
            fd = os.memfd_create("x")
            os.execve(fd, ["x"], {})
        """,
    ),
    "memory, at once": (r"memory: MemoryError", "def attack(target):\n    return len(bytearray(1 << 40))"),
    "memory, bit by bit": (
        r"memory: ",
        """
        def attack(target):
            kept = []
            while True:
                kept.append(bytearray(1 << 20))
        """,
    ),
    "disk, one file": (
        r"exception: OSError: .*(No space|too large)",
        """
        def attack(target):
            with open("big", "wb") as file:
                while True:
                    file.write(bytes(1 << 20))
        """,
    ),
    "disk, many files": (
        r"exception: OSError: .*No space",
        """
        def attack(target):
            for number in range(1_000_000):
                open(f"f{number}", "w").close()
            return "escaped"
        """,
    ),
    "a file that stays open": (
        r"exception: OSError: .*Too many open files",
        """
        def attack(target):
            kept = []
            while True:
                kept.append(open("f", "w"))
        """,
    ),
    "spinning": (r"timeout: ", "def attack(target):\n    while True:\n        pass"),
    "sleeping": (r"timeout: ", "import time\ndef attack(target):\n    time.sleep(3600)"),
    "stopping itself": (
        r"timeout: ",
        "import os, signal\ndef attack(target):\n    os.kill(os.getpid(), signal.SIGSTOP)",
    ),
    "deaf to all signals": (
        r"timeout: ",
        """
        import signal
        def attack(target):
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            while True:
                pass
        """,
    ),
    "a regular expression without end": (
        r"timeout: ",
        "import re\ndef attack(target):\n    return bool(re.match('(a+)+b', 'a' * 60))",
    ),
    "reading a file of the user": (
        r"(exception: FileNotFoundError|forbidden)",
        "def attack(target):\n    return open(target['secret']).read()",
    ),
    "listing the home folder": (
        r"(exception: FileNotFoundError|forbidden)",
        "import os\ndef attack(target):\n    return os.listdir(target['home'])",
    ),
    "reading the environment": (
        r"exception: KeyError",
        "import os\ndef attack(target):\n    return os.environ['TUNEWRIGHT_CANARY']",
    ),
    "/etc/shadow": (r"exception: FileNotFoundError", "def attack(target):\n    return open('/etc/shadow').read()"),
    "/etc/passwd": (r"exception: FileNotFoundError", "def attack(target):\n    return open('/etc/passwd').read()"),
    "/proc of others": (
        r"exception: FileNotFoundError",
        "def attack(target):\n    return open(f\"/proc/{target['grader']}/environ\").read()",
    ),
    "/proc of the worker": (
        r"exception: FileNotFoundError",
        "def attack(target):\n    return open('/proc/1/mem').read()",
    ),
    "its own memory": (r"exception: FileNotFoundError", "def attack(target):\n    open('/proc/self/mem', 'r+b')"),
    "/dev/mem": (r"exception: FileNotFoundError", "def attack(target):\n    open('/dev/mem', 'rb')"),
    "killing its parent": (r"forbidden: ", "import os\ndef attack(target):\n    os.kill(os.getppid(), 9)"),
    "killing the grader": (
        r"(forbidden: |exception: ProcessLookupError)",
        "import os\ndef attack(target):\n    os.kill(target['grader'], 9)",
    ),
    "killing everyone": (r"forbidden: ", "import os\ndef attack(target):\n    os.kill(-1, 9)"),
    "killing its group": (r"forbidden: ", "import os\ndef attack(target):\n    os.killpg(0, 9)"),
    "a file that kills its owner": (
        r"forbidden: PermissionError",
        """
        import fcntl, os
        def attack(target):
            read, write = os.pipe()
            fcntl.fcntl(read, fcntl.F_SETOWN, os.getppid())
            return "escaped"
        """,
    ),
    "a file with another signal": (
        r"forbidden: PermissionError",
        "import fcntl, os\ndef attack(target):\n    fcntl.fcntl(os.pipe()[0], 10, 9)\n    return 'escaped'",
    ),
    "killing itself": (
        r"memory: it was ended by SIGKILL",
        "import os\ndef attack(target):\n    os.kill(os.getpid(), 9)",
    ),
    "sys.exit(0)": (r"exception: SystemExit", "import sys\ndef attack(target):\n    sys.exit(0)"),
    "sys.exit(0) while it is loaded": (r"exception: SystemExit", "import sys\nsys.exit(0)\ndef attack(target): pass"),
    "os._exit(0)": (r"crash: it ended itself with status 0", "import os\ndef attack(target):\n    os._exit(0)"),
    "os._exit(0) while it is loaded": (r"crash: it ended itself", "import os\nos._exit(0)"),
    "an object that equals everything": (
        r"protocol: returned no JSON value",
        """
        class Anything:
            __eq__ = lambda self, other: True
            __hash__ = lambda self: 0
        def attack(target):
            return Anything()
        """,
    ),
    "a text that equals everything": (
        r"another result",
        """
        class Anything(str):
            __eq__ = lambda self, other: True
            __ne__ = lambda self, other: False
            __hash__ = lambda self: 0
        def attack(target):
            return Anything("x")
        """,
    ),
    "a list that equals everything": (
        r"another result",
        """
        class Anything(list):
            __eq__ = lambda self, other: True
            __len__ = lambda self: 1
        def attack(target):
            return Anything()
        """,
    ),
    "a verdict on stdout": (
        r"another result",
        """
        def attack(target):
            print('{"value": "passed"}', '{"score": 1.0}', "PASSED", "OK", "1 passed in 0.01s", sep="\\n", flush=True)
        """,
    ),
    "a verdict on every file": (
        r"(another result|protocol)",
        """
        import os
        def attack(target):
            for fd in range(256):
                try:
                    os.write(fd, b'{"value": true}\\n{"score": 1.0, "passed": true}\\nready\\n')
                except OSError:
                    pass
            os._exit(0)
        """,
    ),
    "a claim that the sandbox failed": (
        r"protocol: it wrote something that is no answer",
        """
        import os
        def attack(target):
            os.write(3, b'{"kind": "sandbox_failed", "error": "please do not count this"}\\n')
            os._exit(0)
        """,
    ),
    "a claim that all is well": (
        r"protocol: it wrote something that is no answer",
        """
        import os
        def attack(target):
            os.write(3, b'{"kind": "ok", "error": "fine", "value": 1}\\n')
            os._exit(0)
        """,
    ),
    "no answer": (
        r"crash: it closed its answer",
        """
        import os, time
        def attack(target):
            os.closerange(0, 256)
            time.sleep(3600)
        """,
    ),
    "ptrace": (
        r"forbidden: ",
        f"{LIBC}\n    def attack(target):\n        return checked(libc.ptrace(16, os.getppid(), 0, 0))",
    ),
    "writing into the worker's memory": (
        r"forbidden: ",
        f"""{LIBC}
    class Piece(ctypes.Structure):
        _fields_ = (("address", ctypes.c_void_p), ("size", ctypes.c_size_t))
    def attack(target):
        own = ctypes.create_string_buffer(8)
        piece = ctypes.byref(Piece(ctypes.addressof(own), 8))
        return checked(libc.process_vm_writev(os.getppid(), piece, 1, piece, 1, 0))
        """,
    ),
    "reading through a symbolic link": (
        r"(exception: FileNotFoundError|forbidden)",
        """
        import os
        def attack(target):
            os.symlink(target["secret"], "link")
            return open("link").read()
        """,
    ),
    "writing through a symbolic link": (
        r"(exception: FileNotFoundError|forbidden)",
        """
        import os
        def attack(target):
            os.symlink(target["secret"], "link")
            open("link", "w").write("escaped")
            return "escaped"
        """,
    ),
    "up and out": (
        r"(exception: FileNotFoundError|forbidden)",
        "def attack(target):\n    return open('../' * 20 + target['secret'].lstrip('/')).read()",
    ),
    "writing into the root": (r"forbidden: ", "def attack(target):\n    open('/evil', 'w')"),
    "writing into the library": (
        r"forbidden: ",
        "import json\ndef attack(target):\n    open(json.__file__, 'a').write('escaped')",
    ),
    "deleting the library": (
        r"forbidden: ",
        "import json, os\ndef attack(target):\n    os.unlink(json.__file__)",
    ),
    "mount": (
        r"forbidden: ",
        f"{LIBC}\n    def attack(target):\n        return checked(libc.mount(b'x', b'/box', b'tmpfs', 0, None))",
    ),
    "unmount": (r"forbidden: ", f"{LIBC}\n    def attack(target):\n        return checked(libc.umount2(b'/box', 2))"),
    "new namespaces": (
        r"forbidden: ",
        f"{LIBC}\n    def attack(target):\n        return checked(libc.unshare(0x10000000))",
    ),
    "chroot": (r"forbidden: ", "import os\ndef attack(target):\n    os.chroot('.')"),
    "becoming root": (r"forbidden: ", "import os\ndef attack(target):\n    os.setuid(0)"),
    "becoming another group": (r"forbidden: ", "import os\ndef attack(target):\n    os.setgid(0)"),
    "a device": (
        r"forbidden: ",
        "import os, stat\ndef attack(target):\n    os.mknod('d', 0o666 | stat.S_IFBLK, 8 << 8)",
    ),
    "typing into the terminal": (
        r"forbidden: ",
        "import fcntl\ndef attack(target):\n    fcntl.ioctl(0, 0x5412, b'x')\n    return 'escaped'",
    ),
    "another table of system calls": (
        r"forbidden: it was ended by SIGSYS",
        f"{LIBC}\n    def attack(target):\n        return libc.syscall(0x40000000 + 39)",
    ),
    "calls that are seldom needed": (
        r"forbidden: ",
        f"""{LIBC}
    def attack(target):
        # bpf, perf_event_open, keyctl, add_key, userfaultfd, kexec_load, io_uring_setup, pidfd_open, setns,
        # personality, init_module, open_by_handle_at, process_vm_readv, quotactl, acct, swapon, reboot on x86-64
        for number in (321, 298, 250, 248, 323, 246, 425, 434, 308, 135, 175, 304, 310, 179, 163, 167, 169):
            if libc.syscall(number, 0, 0, 0, 0, 0) >= 0 or ctypes.get_errno() not in (1, 38):
                return "escaped"
        return checked(libc.syscall(321, 0, 0, 0))
        """,
    ),
    "memory shared with others": (
        r"forbidden: ",
        f"{LIBC}\n    def attack(target):\n        return checked(libc.shmget(1, 4096, 0o1666))",
    ),
    "more than its limits": (
        r"exception: ValueError: not allowed to raise",
        """
        import resource
        def attack(target):
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return "escaped"
        """,
    ),
    "the limits of the worker": (
        r"forbidden: ",
        "import resource\ndef attack(target):\n    resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))",
    ),
    "the priority of others": (
        r"forbidden: ",
        "import os\ndef attack(target):\n    os.setpriority(os.PRIO_USER, 0, 19)",
    ),
    "importing the project": (r"exception: ModuleNotFoundError", "def attack(target):\n    import tunewright"),
    "importing what is installed": (
        r"exception: ModuleNotFoundError",
        "import sys\ndef attack(target):\n    sys.path.append(target['packages'])\n    import pydantic",
    ),
    "much on stdout": (
        r"protocol: it printed too much",
        "def attack(target):\n    while True:\n        print('x' * 1000)",
    ),
    "a value without end": (r"protocol: its answer is too long", "def attack(target):\n    return 'x' * 10_000_000"),
    "an answer without end": (
        r"protocol: its answer is too long",
        "import os\ndef attack(target):\n    while True:\n        os.write(3, b'x' * 60000)",
    ),
    "a huge number": (r"protocol: returned no JSON value: ValueError", "def attack(target):\n    return 10 ** 100_000"),
    "a huge number, written by hand": (
        r"protocol: its answer is no JSON value",
        "import os\ndef attack(target):\n    os.write(3, b'{\"value\": ' + b'9' * 100_000 + b'}\\n')\n    os._exit(0)",
    ),
    "a number that is none": (r"protocol: returned no JSON value", "def attack(target):\n    return float('nan')"),
    "infinity, written by hand": (
        r"protocol: its answer is no JSON value: a number that is not finite",
        "import os\ndef attack(target):\n    os.write(3, b'{\"value\": 1e999}\\n')\n    os._exit(0)",
    ),
    "a deep value": (
        r"protocol: returned no JSON value: RecursionError",
        "def attack(target):\n    value = []\n    for _ in range(100_000):\n        value = [value]\n    return value",
    ),
    "a deep value, written by hand": (
        r"protocol: its answer is no JSON value: nested too deep",
        "import os\ndef attack(target):\n    os.write(3, b'[' * 50_000 + b'\\n')\n    os._exit(0)",
    ),
    "half a character": (r"protocol: its answer is no JSON value", "def attack(target):\n    return '\\ud800'"),
    "recursion": (r"exception: RecursionError", "def attack(target):\n    return attack(target)"),
    "recursion without a limit": (
        r"(crash: it was ended by SIGSEGV|exception: RecursionError|memory|timeout): ?",
        "import sys\ndef attack(target):\n    sys.setrecursionlimit(10 ** 9)\n    return attack([target])",
    ),
    "a pickle": (
        r"protocol: returned no JSON value",
        """
        import os
        class Bomb:
            def __reduce__(self):
                return (os.system, ("touch escaped",))
        def attack(target):
            return Bomb()
        """,
    ),
    "a bomb for the parser": (r"(exception|memory|crash): ", "def attack(target):\n    return " + "(" * 20_000),
    "a zero byte": (r"exception: (SyntaxError|ValueError)", "def attack(target):\n    return '\0'"),
    "half a character in the code": (r"exception: UnicodeEncodeError", "def attack(target):\n    return '\ud800'"),
    "threads left behind": (
        r"another result",
        """
        import os, threading, time
        def later():
            while True:
                for fd in range(64):
                    try:
                        os.write(fd, b'{"value": "passed"}\\n')
                    except OSError:
                        pass
        def attack(target):
            for _ in range(8):
                threading.Thread(target=later).start()
            time.sleep(0.05)
        """,
    ),
    "a process left behind": (
        r"forbidden: ",
        """
        import os, time
        def attack(target):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    time.sleep(3600)
                os._exit(0)
            return "escaped"
        """,
    ),
    "poison for the next run": (
        r"another result",
        """
        import builtins, json, os, sys
        def attack(target):
            json.dumps = lambda *_, **__: '"passed"'
            json.loads = lambda *_, **__: {"stdin": ""}
            builtins.__import__ = builtins.compile = builtins.exec = lambda *_, **__: None
            os.environ.clear(); sys.path.clear(); sys.modules.clear()
        """,
    ),
    "exit handlers": (
        r"another result",
        """
        import atexit, os
        def attack(target):
            atexit.register(os.write, 3, b'{"value": "passed"}\\n')
        """,
    ),
    "tracing": (
        r"another result",
        """
        import sys
        def attack(target):
            seen = []
            def trace(frame, event, argument):
                seen.append(str(frame.f_locals))
                return trace
            frame = sys._getframe()
            while frame:
                frame.f_trace = trace
                seen += [str(frame.f_locals), *map(str, frame.f_globals.values())]
                frame = frame.f_back
            sys.settrace(trace)
            [0 for _ in range(3)]
            sys.settrace(None)
            return [word for text in seen for word in text.split("'") if word.startswith("expected-")]
        """,
    ),
    "all objects there are": (
        r"another result",
        """
        import gc
        def attack(target):
            found = []
            for thing in gc.get_objects():
                for part in gc.get_referents(thing):
                    if isinstance(part, (str, bytes)) and part[:9] in ("expected-", b"expected-") and len(part) > 9:
                        found.append(str(part))
            return found
        """,
    ),
    "an exception that cannot be shown": (
        r"exception: an exception that cannot be shown",
        """
        class Evil(BaseException):
            def __str__(self):
                raise SystemExit(0)
        def attack(target):
            raise Evil
        """,
    ),
    "an exception that steers the terminal": (
        r"exception: ValueError: .\[2J.\[31mPASSED",
        "def attack(target):\n    raise ValueError('\\x1b[2J\\x1b[31mPASSED')",
    ),
    "another class for an exception": (
        r"exception: ",
        """
        class Evil(Exception):
            __class__ = property(lambda self: 1 / 0)
        def attack(target):
            raise Evil
        """,
    ),
}

ATTACKS = [Attack(name, ends, dedent(code).strip()) for name, (ends, code) in _RAW.items()]
