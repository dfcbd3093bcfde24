"""A second user of the machine cannot connect, read, take a name or keep one from being taken.

Each attempt is made by a process of another user against what is being played, once with root as the victim and once
with an ordinary user, because root may do more than others. It fails with a clear error, and the victim plays on: after
each test its trajectory is the one that it would have had alone, value for value.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ferry
import legs
from conftest import wait_until
from ferry import engine, survey
from users import RefusedError, User, ferry_says

NOBODY = 65534
_PIDFD_GETFD, _PTRACE_ATTACH = 438, 16
# Of no account; another one for each run of the tests, because all users have their own folder in one /tmp.
SOMEBODY = 50_000 + os.getpid() % 10_000


class Scene:
    """Two users and what they may see of each other.

    Attributes:
        folder: The victim's runtime directory.
        square: A folder for all, like /tmp.
        server: A process of the victim's, which serves "pole".
        player: Another, which plays it.
        own: A third, for what else is tried.
        attacker: A process of the other user's, whose FERRY_RUNTIME_DIR is the victim's.
    """

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.folder = Path(tempfile.mkdtemp(prefix="ferry-", dir="/tmp"))  # nobody may look into TMPDIR
        self.square = Path(tempfile.mkdtemp(prefix="ferry-", dir="/tmp"))
        os.chown(self.folder, uid, uid)
        self.square.chmod(0o1777)
        self.users: list[User] = []
        self.server, self.player, self.own, self.attacker = map(self.user, (uid, uid, uid, NOBODY))

    def begin(self) -> None:
        self.server.does(serve, "pole")
        self.player.does(begin_to_play, "pole")

    def user(self, uid: int) -> User:
        """One more process."""
        self.users.append(User(uid, __name__, FERRY_RUNTIME_DIR=str(self.folder)))  # they start side by side
        return self.users[-1]

    def is_played_on(self) -> None:
        """Makes sure that the victim's agent goes on, and has seen nothing but what it should."""
        before = self.player.does(steps)
        wait_until(lambda: bool(self.player.does(steps) > before + 50))

    def end(self) -> None:
        for user in self.users:
            user.end()
        shutil.rmtree(self.folder)
        shutil.rmtree(self.square)


@pytest.fixture(scope="module", params=[0, SOMEBODY], ids=["root", "somebody"])
def whole_scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    if os.geteuid() != 0:
        legs.miss("only root can be another user", "root")
    scene = Scene(request.param)
    try:
        scene.begin()
        yield scene
    finally:
        scene.end()


@pytest.fixture
def scene(whole_scene: Scene) -> Iterator[Scene]:
    whole_scene.is_played_on()
    yield whole_scene
    whole_scene.is_played_on()


# ---- What users do ---------------------------------------------------------------------------------------------------


def serve(kept: dict[str, Any], address: str, **variables: str) -> None:
    os.environ.update(variables)
    backend = ferry.ServerBackend("CartPole-v1", address)
    kept[address] = backend
    threading.Thread(target=backend.run, daemon=True).start()


def serve_no_more(kept: dict[str, Any], address: str) -> None:
    kept.pop(address).close()


def begin_to_play(kept: dict[str, Any], address: str) -> None:
    """Plays for ever, and compares each value with that of an environment in this process."""
    env = ferry.ClientEnv(address, timeout=30)
    alone = gymnasium.make("CartPole-v1")
    kept["steps"], kept["wrong"] = 0, None

    def play() -> None:
        try:
            seed = 0
            while True:
                np.testing.assert_array_equal(env.reset(seed=seed)[0], alone.reset(seed=seed)[0], strict=True)
                seed, ended = seed + 1, False
                while not ended:
                    got, wanted = env.step(kept["steps"] % 2), alone.step(kept["steps"] % 2)
                    np.testing.assert_array_equal(got[0], wanted[0], strict=True)
                    assert got[1:4] == wanted[1:4]
                    kept["steps"] += 1
                    ended = got[2] or got[3]
                    time.sleep(0.0002)
        except BaseException as error:
            kept["wrong"] = f"{type(error).__name__}: {error}"

    threading.Thread(target=play, daemon=True).start()


def steps(kept: dict[str, Any]) -> int:
    assert kept["wrong"] is None, kept["wrong"]
    return int(kept["steps"])


def play_once(_: Any, address: str) -> list[float]:
    with ferry.ClientEnv(address, timeout=30) as env:
        first: list[float] = env.reset(seed=0)[0].tolist()
    return first


def connect(_: Any, address: str) -> None:
    ferry.ClientEnv(address, timeout=1).close()


def wait_for_nobody(_: Any, address: str) -> None:
    ferry.ClientEnv(address, timeout=0.2).close()


def observe(_: Any, address: str) -> None:
    with ferry.Observer(address, timeout=1) as observer:
        next(iter(observer))


def wait_for_environment(_: Any, address: str) -> None:
    ferry.ServerEnv(address, timeout=0.2).close()


def listen(kept: dict[str, Any], path: str) -> None:
    """Listens as whoever wants to be taken for the victim would: open to all."""
    kept["listener"] = socket.socket(socket.AF_UNIX)
    kept["listener"].bind(path)
    os.chmod(path, 0o777)
    kept["listener"].listen()


def listen_no_more(kept: dict[str, Any]) -> None:
    """As a process that was killed: its socket stays."""
    kept.pop("listener").close()


def lock(kept: dict[str, Any], path: str) -> None:
    kept["lock"] = os.open(path, os.O_RDONLY)
    fcntl.flock(kept["lock"], fcntl.LOCK_EX)


def unlock(kept: dict[str, Any]) -> None:
    os.close(kept.pop("lock"))


def knock(kept: dict[str, Any], path: str, times: int) -> list[str]:
    """Connects so often, and says nothing; what is said to it within a moment."""
    kept["knocking"] = streams = [socket.socket(socket.AF_UNIX) for _ in range(times)]
    heard = []
    for stream in streams:
        stream.settimeout(5)
        stream.connect(path)
        heard.append(stream.recv(4096)[24:].decode(errors="replace"))
    return heard


def make(_: Any, kind: str, path: str, target: str = "") -> None:
    if kind == "link":
        os.symlink(target, path)
    elif kind == "file":
        Path(path).write_text("precious")
    elif kind == "fifo":
        os.mkfifo(path, 0o666)
    elif kind == "folder":
        os.mkdir(path)
        os.chmod(path, 0o777)


def remove(_: Any, path: str) -> None:
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def calls_of_the_system(_: Any, path: str, folder: str, pid: int) -> dict[str, str]:
    """What is left to try without Ferry: the errors."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: Any) -> None:
        ctypes.set_errno(0)
        getattr(libc, name)(*arguments)
        if ctypes.get_errno():
            raise OSError(ctypes.get_errno(), name)

    def read(what: str) -> None:
        with open(f"/proc/{pid}/{what}", "rb") as file:
            file.read(1)

    byte = ctypes.create_string_buffer(1)
    part = (ctypes.c_size_t * 2)(ctypes.addressof(byte), 1)
    attempts: dict[str, Callable[[], object]] = {
        "list": lambda: os.listdir(folder),
        "bind": lambda: socket.socket(socket.AF_UNIX).bind(f"{folder}/mine"),
        "connect": lambda: socket.socket(socket.AF_UNIX).connect(path),
        "lock": lambda: os.open(folder, os.O_RDONLY),
        "unlink": lambda: os.unlink(path),
        "rename": lambda: os.rename(path, path + "2"),
        "link": lambda: os.link(path, path + "3"),
        "chmod": lambda: os.chmod(path, 0o777),
        "map": lambda: os.open(os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.map"), os.O_RDONLY),
        "descriptors": lambda: os.listdir(f"/proc/{pid}/fd"),
        "descriptor": lambda: os.open(f"/proc/{pid}/fd/0", os.O_RDONLY),
        "maps": lambda: read("maps"),
        "environment": lambda: read("environ"),
        "memory": lambda: read("mem"),
        "process_vm_readv": lambda: call("process_vm_readv", pid, part, 1, part, 1, 0),
        "pidfd_getfd": lambda: call("syscall", _PIDFD_GETFD, os.pidfd_open(pid), 0, 0),
        "ptrace": lambda: call("ptrace", _PTRACE_ATTACH, pid, None, None),
        "stop": lambda: os.kill(pid, signal.SIGSTOP),
        "kill": lambda: os.kill(pid, signal.SIGKILL),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
        "limit": lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0)),
    }
    errors = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            errors[name] = errno.errorcode[error.errno or 0]
        else:
            errors[name] = "done"
    return errors


# ---- Names -----------------------------------------------------------------------------------------------------------


def test_the_name_of_another_cannot_be_met_or_taken(scene: Scene) -> None:
    belongs = f"AddressError: the directory '{scene.folder}' belongs to user {scene.uid}, not to you"
    for attempt, address in (
        (connect, "pole"),
        (observe, "pole"),
        (serve, "pole"),
        (serve, "mine"),
        (wait_for_environment, "mine"),
    ):
        with pytest.raises(RefusedError, match=belongs):
            scene.attacker.does(attempt, address)
    for attempt in (connect, observe):
        with pytest.raises(RefusedError, match=r"AddressError: .* cannot be connected to: Permission denied"):
            scene.attacker.does(attempt, f"{scene.folder}/pole")


def test_root_plays_with_nobody_but_root(scene: Scene) -> None:
    """This process is root's: where it may not play for its user, it is told so; for root the place is taken."""
    refusal = ferry.BusyError if scene.uid == 0 else ferry.AddressError
    with pytest.raises(
        refusal, match="is held by" if scene.uid == 0 else rf"belongs to user {scene.uid}, not to you \(0\)"
    ):
        ferry.ClientEnv(f"{scene.folder}/pole", timeout=30)


def test_no_command_shows_anything_of_another_user(scene: Scene) -> None:
    assert scene.player.does(ferry_says, "ls")[1].count("pole") > 0
    code, said = scene.attacker.does(ferry_says, "ls")
    assert (code, said) == (0, f"ferry: nobody listens in {scene.folder}\n")
    for command in ("info", "watch"):
        code, said = scene.attacker.does(ferry_says, command, "pole")
        assert code == 1
        assert "nobody has the name 'pole'" in said or "belongs to user" in said
    code, said = scene.attacker.does(ferry_says, "info", f"{scene.folder}/pole")
    assert (code, "Permission denied" in said) == (1, True), said
    assert "pole" not in scene.attacker.does(ferry_says, "top", "--once", "--interval", "0.1")[1]


def test_the_system_refuses_what_ferry_relies_on_it_to_refuse(scene: Scene) -> None:
    for user in (scene.server, scene.player):
        errors = scene.attacker.does(calls_of_the_system, f"{scene.folder}/pole", str(scene.folder), user.pid)
        assert {name: error for name, error in errors.items() if error not in ("EACCES", "EPERM")} == {}


def test_what_a_server_starts_inherits_nothing_of_its_channels(scene: Scene) -> None:
    def own(_: Any) -> str:
        return " ".join(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())

    def inherited(_: Any) -> str:
        command = ["sh", "-c", "ls -l /proc/$$/fd"]
        return subprocess.run(
            command, close_fds=False, stdout=subprocess.PIPE, text=True, timeout=30, check=True
        ).stdout

    assert "memfd:ferry" in scene.server.does(own)
    for user in (scene.server, scene.player):
        assert "socket:" in user.does(own)
        assert "pipe:" in user.does(inherited)
        assert "memfd:" not in user.does(inherited)
        assert "socket:" not in user.does(inherited)


def test_a_directory_that_others_may_open_is_refused(scene: Scene) -> None:
    """Whoever opens it can lock it, and then nobody takes a name."""
    scene.folder.chmod(0o755)
    try:
        scene.attacker.does(lock, str(scene.folder))
        for attempt in (serve, connect):
            with pytest.raises(RefusedError, match="is open to others; run chmod 700 on it"):
                scene.own.does(attempt, "locked")
    finally:
        scene.attacker.does(unlock)
        scene.folder.chmod(0o700)
    scene.own.does(serve, "locked")
    assert len(scene.own.does(play_once, "locked")) == 4
    scene.own.does(serve_no_more, "locked")


# ---- The folder in /tmp ----------------------------------------------------------------------------------------------


@pytest.fixture
def two() -> Iterator[Callable[[int], User]]:
    """Makes users; root's own folder in /tmp may be in use."""
    if os.geteuid() != 0:
        legs.miss("only root can be another user", "root")
    users: list[User] = []

    def make(uid: int) -> User:
        users.append(User(uid, __name__))
        return users[-1]

    yield make
    for user in users:
        user.end()


def set_variables(_: Any, **variables: str) -> None:
    for name in ("FERRY_RUNTIME_DIR", "XDG_RUNTIME_DIR"):
        os.environ.pop(name, None)
    os.environ.update(variables)


def test_whoever_is_first_in_tmp_gains_nothing(two: Callable[[int], User]) -> None:
    uid = SOMEBODY + 10_000
    victim, attacker = two(uid), two(NOBODY)
    session, squatted = Path(tempfile.mkdtemp(prefix="ferry-", dir="/tmp")), f"/tmp/ferry-{uid}"
    (session / "private").mkdir(mode=0o700)
    for path in (session, session / "private"):
        os.chown(path, uid, uid)
    try:
        for kind, target in (
            ("folder", ""),
            ("file", ""),
            ("fifo", ""),
            ("link", f"{session}/private"),
            ("link", f"{session}/none"),
        ):
            attacker.does(make, kind, squatted, target)
            victim.does(set_variables)
            refusal = (
                f"AddressError: the directory '{squatted}' belongs to user {NOBODY}, not to you.*FERRY_RUNTIME_DIR"
            )
            for attempt in (serve, connect):
                with pytest.raises(RefusedError, match=refusal):
                    victim.does(attempt, "mine")
            # With a directory of a session, what is in /tmp is in nobody's way, whoever listens there.
            if kind == "folder":
                attacker.does(listen, f"{squatted}/mine")
            victim.does(lambda _, where: set_variables(_, XDG_RUNTIME_DIR=where), str(session))
            with pytest.raises(
                RefusedError, match=r"Timeout.*no environment has served 'mine'.*searched: [^,]*; nobody serves"
            ):
                victim.does(wait_for_nobody, "mine")
            victim.does(serve, "mine")
            assert victim.does(ferry_says, "ls")[1].count("mine") == 1
            assert len(victim.does(play_once, "mine")) == 4
            victim.does(serve_no_more, "mine")
            attacker.does(remove, squatted)
        assert list((session / "private").iterdir()) == []
    finally:
        if os.path.lexists(squatted):
            attacker.does(remove, squatted)
        shutil.rmtree(session)


# ---- Paths in a folder for all ---------------------------------------------------------------------------------------


def test_a_socket_in_a_folder_for_all_is_its_owners_alone(scene: Scene) -> None:
    own, path = scene.own, f"{scene.square}/x.sock"
    own.does(serve, path)
    try:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        for attempt in (connect, observe):
            with pytest.raises(RefusedError, match=r"AddressError: .* cannot be connected to: Permission denied"):
                scene.attacker.does(attempt, path)
        with pytest.raises(RefusedError, match=r"AddressError: .* cannot be taken: Permission denied"):
            scene.attacker.does(serve, path)
        code, said = scene.attacker.does(ferry_says, "info", path)
        assert (code, said) == (1, f"ferry: {path!r} belongs to user {scene.uid}, not to you ({NOBODY})\n")
        errors = scene.attacker.does(calls_of_the_system, path, str(scene.square), own.pid)
        assert {name: errors[name] for name in ("connect", "unlink", "rename", "link", "chmod")} == {
            "connect": "EACCES",
            "unlink": "EPERM",
            "rename": "EPERM",
            "link": "EPERM",
            "chmod": "EPERM",
        }
        # The link beside it may be another's; then nobody looks where it leads.
        scene.attacker.does(make, "link", f"{scene.square}/.x.sock.map", f"/proc/{scene.attacker.pid}/fd/0")
        assert own.does(lambda _, where: survey.is_shown(Path(where)), path) is False
        assert own.does(lambda _, where: survey.channel(Path(where)), path) is None
        assert len(own.does(play_once, path)) == 4
    finally:
        own.does(serve_no_more, path)
    assert not os.path.exists(path)


@pytest.mark.parametrize("kind", ["live", "dead", "file", "fifo", "link"])
def test_what_another_has_put_at_a_path_is_told_and_left_alone(scene: Scene, kind: str) -> None:
    own, path = scene.own, f"{scene.square}/{kind}.sock"
    if kind in ("live", "dead"):
        scene.attacker.does(listen, path)
        if kind == "dead":
            scene.attacker.does(listen_no_more)
    else:
        scene.attacker.does(make, kind, path, f"{scene.folder}/pole")
    told = {
        "live": f"is already served by the process {scene.attacker.pid}",
        "dead": f"is a dead socket of user {NOBODY} and cannot be removed: Operation not permitted; choose another",
    }
    if kind == "dead" and scene.uid == 0:  # root may remove it
        own.does(serve, path)
        own.does(serve_no_more, path)
        return
    with pytest.raises(RefusedError, match=f"AddressError: '{path}' {told.get(kind, 'exists and is not a socket')}"):
        own.does(serve, path)
    assert os.path.lexists(path)
    if kind == "live":  # whoever would play there meets a stranger, and tells it nothing
        with pytest.raises(
            RefusedError, match=rf"AddressError: the peer \(pid \d+\) belongs to user {NOBODY}, not to you"
        ):
            own.does(connect, path)
        with pytest.raises(RefusedError, match=f"belongs to user {NOBODY}, not to you"):
            own.does(observe, path)
        assert own.does(ferry_says, "info", path)[0] == 1

        def heard(kept: dict[str, Any]) -> str:
            """What came to the listener; of everyone who came, only that it is gone or a refusal."""
            got = b""
            kept["listener"].setblocking(False)
            while True:
                try:
                    stream, _ = kept["listener"].accept()
                except BlockingIOError:
                    return got.decode(errors="replace")
                stream.settimeout(5)
                got += stream.recv(4096)

        assert "FERRYhi" not in scene.attacker.does(heard)
    scene.attacker.does(remove, path)
    own.does(serve, path)
    own.does(serve_no_more, path)


def test_a_lock_on_a_folder_for_all_is_told_and_in_no_names_way(scene: Scene) -> None:
    own, path = scene.own, f"{scene.square}/locked.sock"
    scene.attacker.does(lock, str(scene.square))
    try:
        with pytest.raises(
            RefusedError, match="locked for a second; end it, or serve in a directory that is yours alone"
        ):
            own.does(serve, path)
        own.does(serve, "free")
    finally:
        scene.attacker.does(unlock)
    own.does(serve, path)
    own.does(serve_no_more, path)
    own.does(serve_no_more, "free")


# ---- A socket that its owner has opened to all -----------------------------------------------------------------------


def test_a_crowd_of_strangers_is_turned_away(scene: Scene) -> None:
    """Where modes are of no use, the kernel's word for who is there is."""
    own, path = scene.own, f"{scene.square}/open.sock"
    own.does(serve, path)
    os.chmod(path, 0o666)
    refusal = f"belongs to user {NOBODY}, not to you ({scene.uid}); Ferry joins processes of one user"
    for while_played in (False, True):
        if while_played:
            own.does(begin_to_play, path)
        heard = scene.attacker.does(knock, path, 100)
        assert len(heard) == 100
        assert all(refusal in text for text in heard), heard
        with pytest.raises(RefusedError, match="AddressError: the peer"):
            scene.attacker.does(connect, path)
        if not while_played:
            assert len(own.does(play_once, path)) == 4
    with pytest.raises(RefusedError, match="AddressError: the peer"):
        scene.attacker.does(observe, path)
    before = own.does(steps)
    wait_until(lambda: bool(own.does(steps) > before + 50))


# ---- Logs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "fifo", "link"])
def test_a_log_is_not_written_where_another_leads(scene: Scene, kind: str) -> None:
    own, logs = scene.own, scene.square / f"logs-{kind}"
    logs.mkdir()
    logs.chmod(0o1777)
    victims = scene.folder / "precious"
    victims.write_text("precious")
    os.chown(victims, scene.uid, scene.uid)
    scene.attacker.does(make, kind, f"{logs}/engine-0.log", str(victims))

    def start(_: Any, folder: str) -> None:
        made = engine.Engine(["echo", "secret"], log_dir=folder)
        made.end()

    with pytest.raises(RefusedError, match=r"PermissionError: the log .* is no file of yours; choose another log_dir"):
        own.does(start, str(logs))
    assert victims.read_text() == "precious"
    victims.unlink()
    own.does(start, str(scene.folder / "logs"))
    assert (scene.folder / "logs" / "engine-0.log").read_text().startswith("secret\n")
    shutil.rmtree(scene.folder / "logs")
