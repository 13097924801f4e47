"""A run that is asked to stop (SIGINT, SIGTERM) ends between two stages or two orders, never inside one.

The first signal asks; a second one ends the process at once, as a kill does. Whoever runs the stages does not matter:
the command line, a notebook, or Dagster in a process of its own, whose own handlers would raise inside a stage.
"""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ASKED = b"Stopping before the next stage; a second signal ends at once.\n"


class Stopped(KeyboardInterrupt):  # nothing failed; and who ends on Ctrl-C ends on this
    """The run was asked to stop, and did."""


class _State:
    """What came; one for the process, as signals are."""

    signum: int | None = None
    watched = False  # whether a thread counts the signals
    counted = False  # whether one was
    inside = 0  # pieces of work that are being finished, one in the other
    undivided = 0  # pieces of work between whose parts no other run may come, one in the other

    def came(self, signum: int) -> None:
        """The first signal asks, the next one ends the process."""
        if self.counted:
            os._exit(128 + signum)
        self.counted = True
        self.signum = self.signum or signum
        if self.inside:
            os.write(2, ASKED)


_state = _State()


def asked() -> int | None:
    """The signal that asked to stop; None where none came."""
    return _state.signum


def check() -> None:
    """Raise Stopped where a signal asked to stop. To be called where it is safe to leave."""
    if _state.signum is not None:
        raise Stopped


@contextmanager
def whole() -> Generator[None]:
    """A piece of work that no signal interrupts: what comes meanwhile raises Stopped after it."""
    check()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {s: signal.signal(s, _note) for s in SIGNALS}
    _state.inside += 1
    try:
        yield
    finally:
        _state.inside -= 1
        for signum, handler in earlier.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)
    check()


@contextmanager
def undivided() -> Generator[None]:
    """A piece of work that remembers what it read: between its parts no other run may write what it is about to."""
    _state.undivided += 1
    try:
        yield
    finally:
        _state.undivided -= 1


def divisible() -> bool:
    """Whether another run may come between two parts of what is being done."""
    return _state.undivided == 0


@contextmanager
def listening() -> Generator[None]:
    """Around a command: signals outside of stages raise Stopped where they come; all are counted by a thread, also
    while the main one is busy or has handlers of Dagster's.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.signum, _state.counted, _state.watched = None, False, True
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    threading.Thread(target=_watch, args=(reads,), daemon=True).start()
    before = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    earlier = {s: signal.signal(s, _leave) for s in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in earlier.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(before)
        os.close(writes)
        _state.signum, _state.counted, _state.watched = None, False, False


def _watch(reads: int) -> None:
    with os.fdopen(reads, "rb", buffering=0) as signals:
        while came := signals.read(1):
            if came[0] in SIGNALS:
                _state.came(came[0])


def _note(signum: int, _: FrameType | None) -> None:
    if _state.watched:  # the thread counts; the main one, here, must not send another order before it has run
        _state.signum = _state.signum or signum
    else:
        _state.came(signum)


def _leave(signum: int, _: FrameType | None) -> None:
    _state.signum = _state.signum or signum
    raise Stopped
