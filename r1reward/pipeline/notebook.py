"""What a notebook holds of its run: checked parameters, declared inputs and outputs, the manifest."""

from __future__ import annotations

import ast
import difflib
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from r1reward.files import write_json
from r1reward.locks import acquire, release
from r1reward.pipeline import environment
from r1reward.pipeline.dag import Notebook, code_cells, find_notebook
from r1reward.pipeline.places import KEPT, Places, find_places, resolve
from r1reward.pipeline.ready import MissingInputError, check_ready, earlier_seconds, say_missing, why_afresh
from r1reward.pipeline.staleness import (
    Context,
    ParameterError,
    Parameters,
    compute_lock,
    make_context,
    make_parameters,
    output_hashes,
)
from r1reward.progress import clock
from r1reward.settings import Profile

# Settings that say nothing about what is measured.
_OF_ALL = ("name", "sentence", "seeds", "processes")
# Set in the kernels that `r1reward run` starts.
RUNNER_VARIABLE = "R1REWARD_RUNNER"
# A killed run's kernel ends by itself within seconds; its successor waits for that.
ORPHAN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one notebook. Paths outside the declared inputs and outputs are refused.

    `earlier_seconds` were spent on what lies in the outputs when it begins; None where nobody knows.
    """

    notebook: Notebook
    context: Context
    started: float
    lock: dict[str, Any] | None = None
    earlier_seconds: float | None = 0.0

    @property
    def profile(self) -> Profile:
        """The settings that the notebook declares; another one raises UndeclaredSettingError."""
        return self.context.profile.only((*_OF_ALL, *self.notebook.settings), reader=self.notebook.name)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the repetitions."""
        return self.context.parameters.seed_list(self.context.profile)

    @property
    def seed(self) -> int:
        """The first seed, for what is made once."""
        return self.context.parameters.seed

    @property
    def processes(self) -> int:
        """How many trainings or judgings run side by side."""
        return self.profile.processes

    @property
    def folder(self) -> Path:
        """Folder of the run, runs/<profile>."""
        return self.context.folder

    @property
    def records(self) -> Path:
        """Folder of the records, for the functions that draw from them."""
        return self.context.folder / "records"

    @property
    def paid(self) -> Path:
        """Folder for answers of servers, which cost money: it outlives whatever a run moves aside."""
        return self.context.folder.parent / "paid" / self.profile.name

    def work(self, stage: str) -> Path:
        """Folder for heavy files of a stage that this notebook writes; made when absent."""
        return self._own(f"work/{stage}", folder=True)

    def kept(self, name: str) -> Path:
        """Where runs of an unfinished grid may have been kept (`r1reward keep`)."""
        return self.context.places.results(self.profile.name) / KEPT / name

    def record(self, name: str) -> Path:
        """Path of a record that this notebook writes: a file, or a folder when it has no suffix."""
        return self._own(f"records/{name}", folder=not Path(name).suffix)

    def input(self, name: str) -> Path:
        """Path of a declared input, for example `work/data/rl.jsonl`.

        Raises MissingInputError with the notebook that makes it, ValueError if it is not declared.
        """
        if not self.notebook.reads(name):
            raise ValueError(f"{self.notebook.name} does not declare the input {name} in pipeline.toml")
        path = self.context.folder / name
        if path.exists():
            return path
        raise MissingInputError(say_missing(self.context, [name]))

    def finish(self, **notes: Any) -> Path:
        """Write the manifest and print what was written; `notes` (JSON values) are kept in it.

        A run by hand counts as a run when every cell ran once, in order, as saved. Raises
        FileNotFoundError where a declared output is missing.
        """
        missing = [name for name in self.notebook.outputs if not resolve(self.context.folder, name)]
        if missing:
            raise FileNotFoundError(f"{self.notebook.name} declares but did not write {', '.join(missing)}")
        manifest = self._manifest(notes)
        file = write_json(self.context.manifest_file(self.notebook), manifest)
        release(_lock_file(self.context, self.notebook))
        print(f"{self.notebook.name} took {clock(manifest['wall_seconds'])} and wrote to {self.folder}:")
        for name in _shown(manifest["outputs"]):
            print(f"  {name}")
        return file

    def _own(self, name: str, *, folder: bool) -> Path:
        if not self.notebook.writes(name):
            raise ValueError(f"{self.notebook.name} does not declare the output {name} in pipeline.toml")
        path = self.context.folder / name
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
        return path

    def _manifest(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        seconds = round(time.time() - self.started, 1)
        earlier = self.earlier_seconds
        return {
            "notebook": self.notebook.name,
            "profile": self.profile.name,
            "settings": self.context.profile.model_dump(mode="json"),
            "seeds": self.seeds,
            "started": _timestamp(self.started),
            "finished": _timestamp(time.time()),
            "wall_seconds": seconds,
            "work_seconds": None if earlier is None else round(earlier + seconds, 1),
            "peak_memory_mb": environment.peak_memory_mb(),
            "device": environment.device(),
            "versions": environment.versions(),
            "git": environment.commit(self.context.places.root),
            "outputs": output_hashes(self.context, self.notebook),
            "notes": dict(notes),
            "lock": self._lock_by_hand(),
        }

    def _lock_by_hand(self) -> dict[str, Any] | None:
        file = self.context.places.notebooks / f"{self.notebook.name}.ipynb"
        if self.lock is None or not ran_as_saved(code_cells(file)):
            return None
        return self.lock if compute_lock(self.context, self.notebook) == self.lock else None


def start(notebook: str, *, profile: str, seed: int, seeds: int = 0, out: str = "", **unknown: Any) -> Run:
    """Begin a run of a notebook with the values of its `parameters` cell.

    Raises ParameterError for an unknown parameter or a wrong type, ProfileError for a profile that
    cannot be used, MissingInputError or NotReadyError where something that the notebook needs is not there,
    BusyError while another kernel runs the same notebook of the same profile.
    """
    if unknown:
        raise ParameterError(explain_unknown(unknown, Parameters.model_fields))
    parameters = make_parameters(profile=profile, seed=seed, seeds=seeds, out=out)
    return begin(find_places(), notebook, parameters)


def begin(places: Places, notebook: str, parameters: Parameters) -> Run:
    """`start` with folders and parameters that are checked already."""
    context = make_context(places, parameters)
    found = find_notebook(notebook, context.notebooks)
    check_ready(context, found)
    hold_notebook(context, found)
    if RUNNER_VARIABLE in os.environ:
        earlier, lock = (context.attempt(found) or {}).get("earlier_seconds"), None
    else:
        earlier, lock = earlier_seconds(context, found), _begin_by_hand(context, found)
    print(f"{found.name}, profile {context.profile.name}: {context.profile.sentence}")
    return Run(found, context, time.time(), lock, earlier)


def ran_as_saved(cells: list[str]) -> bool:
    """Whether the last cells that this kernel ran are exactly the code cells of the saved notebook.

    The cell of parameters that papermill puts behind the first one does not count: `start` sees its values.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return False
    executed = [source.strip() for source in shell.history_manager.input_hist_raw]
    saved = [cell.strip() for cell in cells if cell.strip()]
    first, *others = executed[-len(saved) - 1 :]
    if others and _is_injected(others[0]):
        return [first, *others[1:]] == saved
    return executed[-len(saved) :] == saved


def _is_injected(source: str) -> bool:
    """Whether a cell is papermill's: its mark, then nothing but constants for known parameters."""
    if not source.startswith("# Parameters\n"):
        return False
    lines = ast.parse(source).body
    return all(
        isinstance(line, ast.Assign)
        and isinstance(line.value, ast.Constant)
        and all(isinstance(name, ast.Name) and name.id in Parameters.model_fields for name in line.targets)
        for line in lines
    )


def _begin_by_hand(context: Context, notebook: Notebook) -> dict[str, Any] | None:
    """The lock under which a run by hand counts as a run, or None where older files are in its way.

    By hand, cells run in any order, so nothing may later pass as an attempt of `r1reward run`.
    """
    lock = compute_lock(context, notebook)
    reasons = why_afresh(context, notebook, lock, force=False)
    context.attempt_file(notebook).unlink(missing_ok=True)
    if reasons:
        print(f"what lies in {context.folder} of {notebook.name} was made otherwise: {'; '.join(reasons)};")
        print(f"for a run that counts, move it aside and run afresh: {_afresh(context, notebook)}")
    return None if reasons else lock


def _afresh(context: Context, notebook: Notebook) -> str:
    return context.command(notebook.name, options="--force")


def hold_notebook(context: Context, notebook: Notebook) -> None:
    """Keep other processes off this notebook's outputs until `let_go`, `finish` or the process's end."""
    what = f"{notebook.name} of profile {context.profile.name}"
    acquire(_lock_file(context, notebook), what=what, wait_seconds=ORPHAN_SECONDS)


def let_go(context: Context, notebook: Notebook) -> None:
    """Give the notebook's outputs to the next process."""
    release(_lock_file(context, notebook))


def explain_unknown(given: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """One sentence about each unknown parameter, with the nearest known one."""
    sentences = []
    for name in given:
        near = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        sentences.append(f"unknown parameter {name}; {advice}")
    return " ".join(sentences)


def _lock_file(context: Context, notebook: Notebook) -> Path:
    return context.folder / f".{notebook.name}.lock"


def _shown(outputs: Mapping[str, str], limit: int = 20) -> list[str]:
    names = list(outputs)
    more = [f"... and {len(names) - limit} more"] if len(names) > limit else []
    return names[:limit] + more


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def turn(show: Callable[..., Any], **knobs: Any) -> None:
    """Call `show` with the value of each widget, again whenever one is moved; once in a run of the chain."""
    if RUNNER_VARIABLE in os.environ:
        show(**{name: knob.value for name, knob in knobs.items()})
        return
    from ipywidgets import interact

    interact(show, **knobs)
