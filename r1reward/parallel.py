"""Independent calls side by side, each in a process of its own with one thread.

A tiny model gains nothing from a second thread, so on two cores two trainings take hardly longer than one.
Loading torch and transformers takes longer than many a call: on Linux a server loads them once and forks the
processes. It runs nothing itself, so that no thread and no CUDA context is there to be forked.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import cloudpickle

from r1reward.progress import clock

_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
_NEEDED_BY_MOST = ("r1reward.engines.loading", "r1reward.engines.transformers")


class SideBySideError(RuntimeError):
    """A call failed or its process died; the message names the call and holds its traceback."""


def side_by_side(calls: Mapping[str, Callable[[], Any]], *, processes: int = 0) -> dict[str, Any]:
    """Results of the calls by name, at most `processes` at once; 0 takes one a core.

    With `processes` of one everything runs here, with all threads. Otherwise a call and what it names must be
    picklable, where a function of a notebook is; what it prints comes out here behind its name. The first
    failure stops the others (SideBySideError). No process outlives this one.
    """
    if processes == 1:
        return {name: call() for name, call in calls.items()}
    running: dict[Connection, tuple[str, BaseProcess]] = {}
    _CONTEXT.set_forkserver_preload([*_NEEDED_BY_MOST, *sorted(map(_module_of, calls.values()))])
    try:
        results = dict(_run(calls, processes or _cores(), running))
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
    return {name: results[name] for name in calls}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(
    calls: Mapping[str, Callable[[], Any]],
    processes: int,
    running: dict[Connection, tuple[str, BaseProcess]],
) -> Iterable[tuple[str, Any]]:
    waiting, finished, started = list(calls.items()), 0, time.monotonic()
    while waiting or running:
        while waiting and len(running) < processes:
            name, call = waiting.pop(0)
            connection, process = _start(name, call)
            running[connection] = name, process
        for connection in wait(list(running)):
            assert isinstance(connection, Connection)
            name, process = running[connection]
            kind, value = _receive(connection, name, process)
            if kind == "line":
                print(f"{name}: {value}", file=sys.stderr, flush=True)
                continue
            del running[connection]
            process.join()
            finished += 1
            passed = clock(time.monotonic() - started)
            print(f"{finished}/{len(calls)} done after {passed}", file=sys.stderr, flush=True)
            yield name, value


def _module_of(call: Callable[[], Any]) -> str:
    return (call.func if isinstance(call, partial) else call).__module__


def _start(name: str, call: Callable[[], Any]) -> tuple[Connection, BaseProcess]:
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    # The standard pickle sends a function by its name, and the other process has no notebook to find it in.
    sent = cloudpickle.dumps(call)
    process = _CONTEXT.Process(target=_work, args=(sent, sender, dict(os.environ)), name=name)
    process.start()
    sender.close()
    return receiver, process


def _receive(connection: Connection, name: str, process: BaseProcess) -> tuple[str, Any]:
    try:
        kind, value = connection.recv()
    except EOFError:
        process.join()
        raise SideBySideError(f"{name}: the process died with exit code {process.exitcode}") from None
    if kind == "error":
        raise SideBySideError(f"{name}: {value}")
    return kind, value


def _work(call: bytes, sender: Connection, environment: dict[str, str]) -> None:
    """The life of a worker process; the server's environment is of the time when it started."""
    import torch

    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = _Lines(sender)
    try:
        sender.send(("done", pickle.loads(call)()))
    except BaseException:
        sender.send(("error", traceback.format_exc()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


class _Lines:
    """A text stream that sends whole lines to the parent process."""

    encoding = "utf-8"

    def __init__(self, sender: Connection) -> None:
        self._sender, self._rest = sender, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._sender.send(("line", line.rstrip()))
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but an unfinished line."""

    def isatty(self) -> bool:
        return False
