"""Executing one notebook with papermill: strict parameters, a kernel of its own, live output, a lock.

Kernels are this Python over IPC sockets in a folder of their own: TCP kernels race for ports when several
start at once, and so do IPC kernels for names in the working folder, which is their place otherwise. A kernel
specification of the user may name another Python.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from r1reward.files import read_json, sha256_file, write_json
from r1reward.pipeline.dag import Notebook
from r1reward.pipeline.notebook import RUNNER_VARIABLE, explain_unknown, hold_notebook, let_go
from r1reward.pipeline.places import ROOT_VARIABLE, RUNS_VARIABLE, Places
from r1reward.pipeline.ready import check_ready, earlier_seconds, start_afresh, why_afresh
from r1reward.pipeline.rendering import EXECUTED, write_clean
from r1reward.pipeline.staleness import Context, ParameterError, compute_lock
from r1reward.progress import clock

_TAIL_LINES = 20
# Errors of code. Others say in one line what a user can mend; their traceback is in the executed notebook.
_OF_CODE = {
    "AssertionError", "AttributeError", "IndexError", "KeyError", "NameError", "NotImplementedError",
    "RecursionError", "SyntaxError", "SystemError", "TypeError", "UnboundLocalError", "ZeroDivisionError",
}  # fmt: skip


class NotebookFailedError(RuntimeError):
    """A notebook stopped; the message holds its error, and where code is at fault the tail of its log."""

    def __init__(self, message: str, *, of_code: bool = False) -> None:
        super().__init__(message)
        self.of_code = of_code


def execute(
    context: Context, notebook: Notebook, *, force: bool = False, terminal: TextIO | None = None
) -> None:
    """Run a notebook from its first cell and lock its manifest.

    What an earlier attempt left behind is continued if it was made under the same lock, and moved aside
    otherwise. Raises NotebookFailedError; before anything runs StaleWorkError where that was long work and
    nothing `force`s it, MissingInputError and NotReadyError where something is not there.
    """
    check_ready(context, notebook)
    lock = compute_lock(context, notebook)
    hold_notebook(context, notebook)
    try:
        earlier = _cell_seconds(context, notebook)
        if reasons := why_afresh(context, notebook, lock, force=force):
            start_afresh(context, notebook, reasons, force=force)
        attempt = {"begun": time.time(), "earlier_seconds": earlier_seconds(context, notebook)}
        attempt |= {"lock": lock, "outcome": "was cut short"}
        write_json(context.attempt_file(notebook), attempt)
        context.manifest_file(notebook).unlink(missing_ok=True)
    finally:
        let_go(context, notebook)
    executed = context.folder / "executed" / f"{notebook.name}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    log_file = executed.with_suffix(".log")
    with log_file.open("w", encoding="utf-8") as log:
        live = LiveOutput(terminal or sys.stdout, log, notebook.name)
        try:
            seconds = _papermill(context, notebook, executed=executed, live=live, earlier=earlier)
        except NotebookFailedError as error:
            outcome = f"failed: {str(error).splitlines()[0]}"
            write_json(context.attempt_file(notebook), {**attempt, "outcome": outcome})
            more = f"\n\nEnd of {log_file}:\n{_tail(log_file)}" if error.of_code else f" (log: {log_file})"
            raise NotebookFailedError(f"{error}{more}") from error
    _seal(context, notebook, lock, seconds=seconds, executed=executed)


def check_parameters(file: Path, given: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook's `parameters` cell does not have, and the other way round."""
    import papermill

    known = papermill.inspect_notebook(str(file))
    if not known:
        raise ParameterError(f"{file.name} has no cell tagged `parameters`")
    unknown = {name: value for name, value in given.items() if name not in known}
    if unknown:
        raise ParameterError(f"{file.name}: {explain_unknown(unknown, known)}")
    extra = {name: value for name, value in known.items() if name not in given}
    if extra:
        raise ParameterError(f"{file.name}, parameters cell: {explain_unknown(extra, given)}")


def _papermill(
    context: Context, notebook: Notebook, *, executed: Path, live: LiveOutput, earlier: list[float]
) -> list[float]:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from r1reward.pipeline.execute import kernel_manager_for

    file = context.places.notebooks / f"{notebook.name}.ipynb"
    given = context.parameters.model_dump()
    check_parameters(file, given)
    starts: list[float] = []

    def headline(cell: Any, cell_index: int) -> None:
        if cell.cell_type == "code":
            left = time_left(len(starts), elapsed=live.seconds, earlier=earlier)
            starts.append(live.seconds)
            hint = f", about {clock(left)} left" if left is not None else ""
            live.headline(f"cell {len(starts)}{hint}: {_first_line(cell.source)}")

    try:
        papermill.execute_notebook(
            str(file), str(executed), parameters=given, cwd=str(context.places.root), kernel_name="python3",
            language="python", progress_bar=False, stdout_file=live, stderr_file=live,
            kernel_manager_class=kernel_manager_for(context.places), on_cell_start=headline,
        )  # fmt: skip
    except PapermillExecutionError as error:
        of_code, said = error.ename in _OF_CODE, f"{error.ename}: {error.evalue}"
        raise NotebookFailedError(f"{said}\n{error}" if of_code else said, of_code=of_code) from error
    except DeadKernelError as error:
        raise NotebookFailedError(f"the kernel died (killed, or out of memory): {error}") from error
    finally:
        live.close()
    ends = [*starts[1:], live.seconds]
    return [round(end - begun, 1) for begun, end in zip(starts, ends, strict=True)]


def _seal(
    context: Context, notebook: Notebook, lock: dict[str, Any], *, seconds: list[float], executed: Path
) -> None:
    manifest = context.manifest(notebook)
    if manifest is None:
        raise NotebookFailedError(f"{notebook.name} ended without run.finish()")
    if compute_lock(context, notebook) != lock:
        print(f"{notebook.name}: code, settings or inputs changed while it ran; it stays stale")
    clean = write_clean(executed, context.executed_file(notebook.name), places=_short_names(context))
    sealed = {"lock": lock, "cell_seconds": seconds, EXECUTED: sha256_file(clean)}
    write_json(context.manifest_file(notebook), {**manifest, **sealed})
    context.attempt_file(notebook).unlink(missing_ok=True)


def _short_names(context: Context) -> dict[str, str]:
    return {str(context.folder): f"runs/{context.profile.name}", str(context.places.root): "."}


def _cell_seconds(context: Context, notebook: Notebook) -> list[float]:
    """Seconds a cell of the last finished run here, or of the published one."""
    published = context.places.results(context.profile.name) / "manifests" / f"{notebook.name}.json"
    for file in (context.manifest_file(notebook), published):
        if file.is_file():
            return read_json(file).get("cell_seconds", [])
    return []


def _first_line(source: str) -> str:
    lines = (line.strip() for line in source.splitlines())
    line = next((line for line in lines if line and not line.startswith("#")), "")
    return line if len(line) <= 70 else f"{line[:67]}..."


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8").splitlines()[-_TAIL_LINES:])


# The system bounds paths of sockets: 107 characters, 103 on macOS, less "/socket-5".
LONGEST_FOLDER = 90


class LocalKernelManager(AsyncKernelManager):
    """Starts ipykernel with this interpreter; `environment` is added to that of the process."""

    environment: dict[str, str] = {}  # noqa: RUF012  (replaced as a whole by the subclass of a run)

    def __init__(self, **settings: Any) -> None:
        self._sockets = TemporaryDirectory(prefix="r1reward-kernel-", ignore_cleanup_errors=True)
        super().__init__(**{**settings, **_sockets_in(self._sockets.name)})

    @property
    def kernel_spec(self) -> KernelSpec:
        """ipykernel with this interpreter, whatever kernels are installed."""
        arguments = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=arguments, display_name="Python 3", language="python")

    async def _async_start_kernel(self, **settings: Any) -> None:
        settings["env"] = {**os.environ, **(settings.get("env") or {}), **self.environment}
        await super()._async_start_kernel(**settings)

    start_kernel = _async_start_kernel  # type: ignore[assignment]


def _sockets_in(folder: str) -> dict[str, str]:
    """Where a kernel listens: in a folder of its own, or at ports where that lies too deep."""
    return {"transport": "ipc", "ip": f"{folder}/socket"} if len(folder) <= LONGEST_FOLDER else {}


def kernel_manager_for(places: Places) -> type[LocalKernelManager]:
    """A kernel manager whose kernels find the same folders as this process."""
    added = {
        ROOT_VARIABLE: str(places.root),
        RUNS_VARIABLE: str(places.runs),
        RUNNER_VARIABLE: "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    return type("RunKernelManager", (LocalKernelManager,), {"environment": added})


_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class LiveOutput:
    """A text stream for papermill: passes whole lines on, prefixed, and copies them to a log."""

    def __init__(self, terminal: TextIO, log: TextIO, prefix: str) -> None:
        self._terminal, self._log, self._prefix = terminal, log, prefix
        self._started = time.monotonic()
        self._rest = ""

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def write(self, text: str) -> int:
        """Pass the finished lines on; `\\r` ends a line as `\\n` does, so that progress is seen."""
        *lines, self._rest = re.split(r"[\r\n]", self._rest + text)
        for line in lines:
            if line.strip():
                self._line(line.rstrip())
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but an unfinished line."""

    def headline(self, text: str) -> None:
        """A line of the runner itself."""
        self.close()
        self._line(text)

    def close(self) -> None:
        """Pass an unfinished line on."""
        rest, self._rest = self._rest, ""
        if rest.strip():
            self._line(rest.rstrip())

    def _line(self, text: str) -> None:
        print(f"[{self._prefix} {clock(self.seconds)}] {text}", file=self._terminal, flush=True)
        print(_CONTROL.sub("", text), file=self._log, flush=True)


def time_left(cell: int, *, elapsed: float, earlier: Sequence[float]) -> float | None:
    """Seconds left at the start of a cell (from 0), judged by an earlier run's seconds a cell.

    The earlier run is scaled by the speed so far once a tenth of it has passed. None without one.
    """
    if cell >= len(earlier):
        return None
    done, left = sum(earlier[:cell]), sum(earlier[cell:])
    return left * (elapsed / done if done > 0.1 * (done + left) else 1.0)
