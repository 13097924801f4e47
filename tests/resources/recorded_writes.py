"""What a program did to the files of a folder, recorded by strace: each change, and since which call it is durable."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple

PAGE = 4096
TRACED = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,copy_file_range,sendfile,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync"
)
LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
CALL = re.compile(r"(?P<name>\w+)\((?P<args>.*)\) += (?P<result>-?\d+)")
ARGUMENT = re.compile(r'"(?P<text>(?:\\x[0-9a-f]{2})*)"|(?P<bare>[^,"]+)')
MARK = b"\x00cut:"  # what a recorded program writes to standard output to say how far it is


class Folder:
    """A directory: its names when the recording began."""

    def __init__(self) -> None:
        self.base: dict[str, Folder | File] = {}
        self.live: dict[str, Folder | File] = {}


class File:
    """A file: its bytes when the recording began."""

    def __init__(self, base: bytes = b"") -> None:
        self.base = base


@dataclass
class Change:
    """Something that is kept for certain once it is synced. `group`: changes that are kept together or not at all."""

    at: int
    group: int
    durable: float = float("inf")


@dataclass
class Named(Change):
    """A name in a folder that now is `what`; None: it is gone."""

    folder: Folder = field(default_factory=Folder)
    name: str = ""
    what: "Folder | File | None" = None


@dataclass
class Written(Change):
    """Bytes in a file; without any, its length is cut to `offset`."""

    file: File = field(default_factory=File)
    offset: int = 0
    content: bytes = b""


@dataclass
class Recording:
    """The calls in the order in which they ended, as changes; `marks`: after how many of the calls the program wrote
    a mark, and which.
    """

    root: Folder
    changes: list[Named | Written]
    marks: list[tuple[int, str]]
    calls: int

    def reported(self, at: int) -> int:
        """How many marks were written before `at` calls had ended."""
        return sum(after <= at for after, _ in self.marks)


def record(command: Sequence[str], root: Path, scratch: Path, **environment: str) -> Recording:
    """Run a command and record what it does below `root`. Raises AssertionError where it fails or does what the model
    does not know.
    """
    before = _stored(root)
    trace = scratch / "trace"
    strace = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        "100000000",
        "-e",
        f"trace={TRACED}",
        "-o",
        str(trace),
    ]
    done = subprocess.run([*strace, *command], capture_output=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2_000:]
    return _Replay(root, before).run(trace)


def _stored(path: Path) -> Folder:
    folder = Folder()
    for entry in path.iterdir():
        folder.base[entry.name] = _stored(entry) if entry.is_dir() else File(entry.read_bytes())
    folder.live = dict(folder.base)
    return folder


class Call(NamedTuple):
    """A call that did not fail: its arguments, what it returned, and how many calls had ended when it began."""

    given: list[str | bytes]
    result: int
    begun: int

    def content(self, which: int) -> bytes:
        """An argument that is bytes."""
        found = self.given[which]
        assert isinstance(found, bytes)
        return found

    def number(self, which: int) -> int:
        """An argument that is a number."""
        return int(self.given[which])


class _Replay:
    """Follows the calls of a trace through the folder."""

    def __init__(self, root: Path, stored: Folder) -> None:
        self.root, self.top = str(root.resolve()), stored
        self.recording = Recording(stored, [], [], 0)
        self.length: dict[File, int] = {}
        self.position: dict[int, int] = {}  # by descriptor: threads share theirs, and its children write nothing here
        self.groups = count()

    def run(self, trace: Path) -> Recording:
        started: dict[str, tuple[str, int]] = {}
        with trace.open() as lines:
            for line in lines:
                found = LINE.match(line)
                if not found:
                    continue
                pid, rest = found["pid"], found["rest"].rstrip("\n")
                if rest.endswith("<unfinished ...>"):
                    started[pid] = (rest.removesuffix("<unfinished ...>").rstrip(), self.recording.calls)
                    continue
                begun = self.recording.calls
                if rest.startswith("<... "):
                    head, begun = started.pop(pid)
                    rest = head + rest.split(" resumed>", 1)[1]
                found = CALL.match(rest)
                if found and int(found["result"]) >= 0:
                    self.call(found["name"], Call(_arguments(found["args"]), int(found["result"]), begun), rest)
        return self.recording

    def call(self, name: str, call: "Call", line: str) -> None:
        text = call.content(1) if name == "write" else b""
        if MARK in text:
            self.recording.marks += [(self.recording.calls, m.split(b"\n")[0].decode()) for m in text.split(MARK)[1:]]
            return
        act = getattr(self, f"on_{name}", None)
        assert act or self.root not in _decoded(line), f"the model does not know {name}: {line[:200]}"
        if act and act(call):
            self.recording.calls += 1

    def on_openat(self, call: Call) -> bool:
        path, flags = self.path(call.given[0], call.given[1]), str(call.given[2])
        place = self.place(path)
        if place is None or "O_DIRECTORY" in flags:
            return False
        folder, name = place
        self.position[call.result] = 0
        if name not in folder.live:
            if "O_CREAT" not in flags:
                return False
            self.named(folder, name, File())
            return True
        found = folder.live[name]
        if "O_APPEND" in flags and isinstance(found, File):
            self.position[call.result] = self.size(found)
        if "O_TRUNC" in flags and isinstance(found, File) and self.size(found):
            self.wrote(found, 0, b"")
            return True
        return False

    def on_write(self, call: Call) -> bool:
        handle, file = self.opened(call.given[0])
        if file is None:
            return False
        offset = self.position.get(handle, self.size(file))
        self.wrote(file, offset, call.content(1)[: call.result])
        self.position[handle] = offset + call.result
        return True

    def on_pwrite64(self, call: Call) -> bool:
        _, file = self.opened(call.given[0])
        if file is None:
            return False
        self.wrote(file, call.number(3), call.content(1)[: call.result])
        return True

    def on_ftruncate(self, call: Call) -> bool:
        _, file = self.opened(call.given[0])
        if file is None or call.number(1) == self.size(file):
            return False
        self.wrote(file, call.number(1), b"")
        return True

    def on_fsync(self, call: Call) -> bool:
        found = self.found(self.described(call.given[0])[1])
        if found is None:
            return False
        for change in self.recording.changes:
            of = change.folder if isinstance(change, Named) else change.file
            if of is found and change.at < call.begun:
                change.durable = min(change.durable, self.recording.calls)
        return True

    on_fdatasync = on_fsync

    def on_mkdir(self, call: Call) -> bool:
        return self.made("AT_FDCWD", call.given[0])

    def on_mkdirat(self, call: Call) -> bool:
        return self.made(call.given[0], call.given[1])

    def on_unlink(self, call: Call) -> bool:
        return self.gone("AT_FDCWD", call.given[0])

    def on_unlinkat(self, call: Call) -> bool:
        return self.gone(call.given[0], call.given[1])

    on_rmdir = on_unlink

    def on_link(self, call: Call) -> bool:
        return self.moved(self.path("AT_FDCWD", call.given[0]), self.path("AT_FDCWD", call.given[1]), keep=True)

    def on_linkat(self, call: Call) -> bool:
        return self.moved(self.path(call.given[0], call.given[1]), self.path(call.given[2], call.given[3]), keep=True)

    def on_rename(self, call: Call) -> bool:
        return self.moved(self.path("AT_FDCWD", call.given[0]), self.path("AT_FDCWD", call.given[1]), keep=False)

    def on_renameat(self, call: Call) -> bool:
        return self.moved(self.path(call.given[0], call.given[1]), self.path(call.given[2], call.given[3]), keep=False)

    on_renameat2 = on_renameat

    def made(self, at: str | bytes, name: str | bytes) -> bool:
        place = self.place(self.path(at, name))
        if place:
            self.named(*place, Folder())
        return place is not None

    def gone(self, at: str | bytes, name: str | bytes) -> bool:
        place = self.place(self.path(at, name))
        if place:
            self.named(*place, None)
        return place is not None

    def moved(self, old: str, new: str, *, keep: bool) -> bool:
        source, target = self.place(old), self.place(new)
        if source is None and target is None:
            return False
        if source is None or target is None:
            raise AssertionError(f"{old} is moved over the folder's edge, to {new}")
        self.named(*target, source[0].live[source[1]])
        if not keep:
            # in one folder a rename is one change; over two, each folder keeps its own part
            together = source[0] is target[0]
            self.named(*source, None, group=self.recording.changes[-1].group if together else None)
        return True

    def named(self, folder: Folder, name: str, what: "Folder | File | None", group: int | None = None) -> None:
        number = next(self.groups) if group is None else group
        self.recording.changes.append(Named(self.recording.calls, number, folder=folder, name=name, what=what))
        if what is None:
            folder.live.pop(name, None)
        else:
            folder.live[name] = what

    def wrote(self, file: File, offset: int, content: bytes) -> None:
        now, changes = self.recording.calls, self.recording.changes
        if not content:
            changes.append(Written(now, next(self.groups), file=file, offset=offset))
            self.length[file] = offset
            return
        for start in range(0, len(content), PAGE):
            piece = content[start : start + PAGE]
            changes.append(Written(now, next(self.groups), file=file, offset=offset + start, content=piece))
        self.length[file] = max(self.size(file), offset + len(content))

    def size(self, file: File) -> int:
        return self.length.setdefault(file, len(file.base))

    def opened(self, given: str | bytes) -> tuple[int, File | None]:
        handle, path = self.described(given)
        found = self.found(path)
        return handle, found if isinstance(found, File) else None

    def described(self, given: str | bytes) -> tuple[int, str]:
        number, _, path = str(given).partition("<")
        return int(number), _decoded(path).removesuffix(">")

    def found(self, path: str) -> "Folder | File | None":
        if path == self.root:
            return self.top
        place = self.place(path)
        return place[0].live.get(place[1]) if place else None

    def place(self, path: str) -> tuple[Folder, str] | None:
        """The folder of a path and its name there; None outside of the root."""
        if not path.startswith(f"{self.root}/") or path.endswith("(deleted)"):
            return None
        *parents, name = path[len(self.root) + 1 :].split("/")
        folder = self.top
        for parent in parents:
            below = folder.live.get(parent)
            if not isinstance(below, Folder):
                return None
            folder = below
        return folder, name

    def path(self, at: str | bytes, name: str | bytes) -> str:
        text = name.decode() if isinstance(name, bytes) else name
        if text.startswith("/"):
            return os.path.normpath(text)
        base = _decoded(str(at).partition("<")[2]).removesuffix(">")
        return os.path.normpath(f"{base}/{text}")


def _arguments(text: str) -> list[str | bytes]:
    """The arguments of a call: strings as bytes, all else as it is written."""
    found: list[str | bytes] = []
    for one in ARGUMENT.finditer(text):
        if one["text"] is not None:
            found.append(bytes.fromhex(one["text"].replace("\\x", "")))
        elif one["bare"].strip():
            found.append(one["bare"].strip())
    return found


def _decoded(text: str) -> str:
    return re.sub(r"((?:\\x[0-9a-f]{2})+)", lambda m: bytes.fromhex(m[1].replace("\\x", "")).decode(), text)
