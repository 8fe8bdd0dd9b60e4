"""Executing one notebook with papermill: strict parameters, live output, a lock in the manifest."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from r1reward.files import read_json, sha256_file, write_json
from r1reward.pipeline.cost import earlier_seconds, start_afresh, why_afresh
from r1reward.pipeline.dag import Notebook
from r1reward.pipeline.executed import EXECUTED, write_clean
from r1reward.pipeline.notebook import explain_unknown, hold_notebook, let_go
from r1reward.pipeline.progress import LiveOutput, time_left
from r1reward.pipeline.ready import check_ready
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

    from r1reward.pipeline.kernel import kernel_manager_for

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
