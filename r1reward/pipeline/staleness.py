"""When a notebook has to run again: its lock, compared part by part with the one in its manifest.

The lock holds code cells, declared settings, seeds, modules, and hashes of inputs, and of checkpoints and
data that settings name by path. Times, outputs of cells, prose, git commits and how a server is reached are
no part.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1reward.config import load_profile
from r1reward.files import describe_tree, read_json, sha256_file
from r1reward.pipeline.dag import (
    Notebook,
    code_cells,
    imported_files,
    maker_of,
    parse_cells,
    read_notebooks,
    sources_of,
    uses_seeds,
)
from r1reward.pipeline.places import HashCache, Places, resolve
from r1reward.settings import HOW_ASKED, Profile

# Settings that may name a folder of the user's own: with a model, or with data, which are too many to read.
_CHECKPOINTS = ("model.base", "downstream.policy")
_DATA = ("data.root", "downstream.root", "downstream.harness")
# Drawing again what is already measured needs no new measurement.
_DRAWING = ("r1reward.report", "report/")


class Parameters(BaseModel):
    """Parameters of a notebook, as its `parameters` cell holds them: JSON scalars only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    profile: str = Field(min_length=1, description="Name of a profile, name+preset, or path of a TOML file.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="First seed.")
    seeds: int = Field(default=0, ge=0, le=1000, description="How many seeds; 0 takes the profile's number.")
    out: str = Field(default="", description="Folder of the runs; empty means runs/.")

    def options(self) -> str:
        """The options of a command about the same run, to be pasted behind it."""
        words = ["--profile", self.profile]
        words += ["--seed", str(self.seed)] if self.seed else []
        words += ["--seeds", str(self.seeds)] if self.seeds else []
        words += ["--out", self.out] if self.out else []
        return shlex.join(words)

    def load(self) -> Profile:
        """The profile that is named."""
        return load_profile(self.profile)

    def seed_list(self, profile: Profile) -> list[int]:
        """The seeds of the run."""
        return list(range(self.seed, self.seed + (self.seeds or profile.seeds)))


class ParameterError(ValueError):
    """A parameter that a notebook cannot use."""


def make_parameters(**values: Any) -> Parameters:
    """Checked parameters. Raises ParameterError, one sentence a fault."""
    try:
        return Parameters(**values)
    except ValidationError as error:
        faults = (f"{fault['loc'][0]}: {fault['msg']} (got {fault['input']!r})" for fault in error.errors())
        raise ParameterError("; ".join(faults)) from error


class State(StrEnum):
    """Where a notebook stands."""

    FRESH = "up to date"
    STALE = "stale"
    UNFINISHED = "unfinished"
    NEW = "not run yet"


@dataclass(frozen=True, slots=True)
class Standing:
    """State of a notebook, with the reasons where it is not fresh."""

    state: State
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """One run of the chain: where it lies, its notebooks and its parameters."""

    places: Places
    notebooks: tuple[Notebook, ...]
    parameters: Parameters
    profile: Profile
    folder: Path

    @property
    def hashes(self) -> HashCache:
        """Remembered file hashes of this run."""
        return _hash_cache(self.folder / ".hashes.json")

    def manifest_file(self, notebook: Notebook) -> Path:
        """Where the notebook's manifest lies."""
        return self.folder / "manifests" / f"{notebook.name}.json"

    def attempt_file(self, notebook: Notebook) -> Path:
        """Where the lock of an attempt that has not finished lies."""
        return self.folder / "manifests" / f"{notebook.name}.attempt.json"

    def executed_file(self, name: str) -> Path:
        """Where the executed notebook lies in the form that is published."""
        return self.folder / "notebooks" / f"{name}.ipynb"

    def manifest(self, notebook: Notebook) -> dict[str, Any] | None:
        """The notebook's manifest, or None. Raises ValueError for a damaged one."""
        return _read_state(self.manifest_file(notebook), keys=("outputs",))

    def attempt(self, notebook: Notebook) -> dict[str, Any] | None:
        """Lock and outcome of an attempt that has not finished, or None. Raises ValueError as above."""
        return _read_state(self.attempt_file(notebook), keys=("lock", "outcome"))

    def command(self, *names: str, options: str = "") -> str:
        """The command that runs notebooks of this run, to be pasted."""
        return " ".join(filter(None, ["r1reward run", *names, options, self.parameters.options()]))


def make_context(places: Places, parameters: Parameters) -> Context:
    """Everything that the pipeline needs to know about one run.

    Raises ParameterError where its folder would be the one of the published results.
    """
    profile = parameters.load()
    folder = (Path(parameters.out).resolve() if parameters.out else places.runs) / profile.name
    if folder in (places.results(profile.name), places.figures(profile.name)):
        raise ParameterError(f"{folder} is for what is published: take another folder for the runs (--out)")
    return Context(places, read_notebooks(places), parameters, profile, folder)


def compute_lock(context: Context, notebook: Notebook) -> dict[str, Any]:
    """The lock of a notebook as things are now."""
    cells = code_cells(context.places.notebooks / f"{notebook.name}.ipynb")
    tree = parse_cells(cells)
    lock = {
        "cells": [hashlib.sha256(cell.encode()).hexdigest() for cell in cells],
        "settings": _declared_settings(context.profile, notebook.settings),
        "seeds": context.parameters.seed_list(context.profile) if uses_seeds(tree) else [],
        "inputs": {path: input_digest(context, path) for path in notebook.inputs},
        "checkpoints": _checkpoints(context, notebook),
        "modules": {name: sha256_file(file) for name, file in sorted(imported_files(tree).items())},
    }
    context.hashes.save()
    return lock


def input_digest(context: Context, declared: str) -> str | None:
    """Hash of what lies at a declared path, names included; None where nothing does."""
    digests = [
        f"{path.relative_to(context.folder).as_posix()}\0{context.hashes.tree(path)}"
        for path in resolve(context.folder, declared)
    ]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest() if digests else None


def output_hashes(context: Context, notebook: Notebook) -> dict[str, str]:
    """Hash of every output that exists: by file, and by whole folder below work/."""
    hashes: dict[str, str] = {}
    for declared in notebook.outputs:
        for path in resolve(context.folder, declared):
            name = path.relative_to(context.folder).as_posix()
            whole = path.is_file() or name.startswith("work/")
            members = [path] if whole else sorted(file for file in path.rglob("*") if file.is_file())
            for member in members:
                digest = context.hashes.tree(member)
                hashes[member.relative_to(context.folder).as_posix()] = digest or ""
    context.hashes.save()
    return hashes


def examine(context: Context, notebook: Notebook) -> Standing:
    """Whether a notebook has to run again, and why."""
    manifest = context.manifest(notebook)
    if manifest is None:
        attempt = context.attempt(notebook)
        if attempt:
            return Standing(State.UNFINISHED, (f"the last attempt {attempt['outcome']}",))
        return Standing(State.NEW, ("there is no manifest of a finished run",))
    if not manifest.get("lock"):
        return Standing(State.STALE, ("it was last run by hand, outside `r1reward run`",))
    reasons = [*compare_locks(manifest["lock"], compute_lock(context, notebook), context.notebooks)]
    reasons += _changed_outputs(manifest["outputs"], output_hashes(context, notebook))
    return Standing(State.STALE if reasons else State.FRESH, tuple(reasons))


def wanted_notebooks(context: Context) -> list[Notebook]:
    """All notebooks but those on request that have never been begun."""
    return [
        notebook
        for notebook in context.notebooks
        if not notebook.on_request or context.manifest(notebook) or context.attempt(notebook)
    ]


def examine_all(context: Context) -> dict[str, Standing]:
    """Standing of every wanted notebook in order; one that waits for a stale notebook is stale too."""
    standings: dict[str, Standing] = {}
    for notebook in wanted_notebooks(context):
        standing = examine(context, notebook)
        waits = [
            f"it reads what {source.name} writes, which is {standings[source.name].state}"
            for source in sources_of(notebook, context.notebooks)
            if standings[source.name].state is not State.FRESH
        ]
        if waits and standing.state in (State.FRESH, State.STALE):
            standing = Standing(State.STALE, (*standing.reasons, *waits))
        standings[notebook.name] = standing
    return standings


def can_resume(context: Context, notebook: Notebook, lock: Mapping[str, Any]) -> bool:
    """Whether what lies in the outputs was made under the same measuring lock and may be continued.

    True for an attempt that was cut short, and for a finished run after which only drawing code changed.
    """
    attempt = context.attempt(notebook)
    if attempt:
        return measuring_lock(attempt["lock"]) == measuring_lock(lock)
    manifest = context.manifest(notebook)
    if not manifest or not manifest.get("lock"):
        return False
    intact = not _changed_outputs(manifest["outputs"], output_hashes(context, notebook))
    return intact and measuring_lock(manifest["lock"]) == measuring_lock(lock)


def measuring_lock(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The lock without the modules that only draw; one of an older version knows of no checkpoints."""
    modules = {name: digest for name, digest in lock["modules"].items() if not name.startswith(_DRAWING)}
    return {**lock, "modules": modules, "checkpoints": lock.get("checkpoints", {})}


def compare_locks(old: Mapping[str, Any], new: Mapping[str, Any], notebooks: Sequence[Notebook]) -> list[str]:
    """Differences between two locks, each as a sentence for a reader."""
    reasons = []
    if old["cells"] != new["cells"]:
        reasons.append(_describe_cells(old["cells"], new["cells"]))
    for key, before, after in _differences(old["settings"], new["settings"]):
        reasons.append(f"setting {key} changed from {before!r} to {after!r}")
    if old["seeds"] != new["seeds"]:
        reasons.append(f"seeds changed from {old['seeds']} to {new['seeds']}")
    for path, _, after in _differences(old["inputs"], new["inputs"]):
        maker = maker_of(path, notebooks)
        reasons.append(
            f"input {path} {'changed' if after else 'is missing'} (made by {maker.name if maker else '?'})"
        )
    for name, _, after in _differences(old.get("checkpoints", {}), new.get("checkpoints", {})):
        reasons.append(f"the files of {name} {'changed' if after else 'are gone'}")
    for name, before, after in _differences(old["modules"], new["modules"]):
        word = "changed" if before and after else "is new" if after else "is no longer used"
        reasons.append(f"{'file' if '/' in name else 'module'} {name} {word}")
    return reasons


def _changed_outputs(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    words = ((path, "is missing" if not after else "changed since the run" if before else "is not of the run")
             for path, before, after in _differences(old, new))  # fmt: skip
    return [f"output {path} {word}" for path, word in words]


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = sorted({*old, *new})
    return [(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def _describe_cells(old: Sequence[str], new: Sequence[str]) -> str:
    if len(old) != len(new):
        return f"the notebook has {len(new)} code cells instead of {len(old)}"
    changed = [str(number) for number, pair in enumerate(zip(old, new, strict=True), 1) if pair[0] != pair[1]]
    return f"code cell {', '.join(changed)} changed"


def _checkpoints(context: Context, notebook: Notebook) -> dict[str, str]:
    """Hashes of what declared settings name by its folder: another model, other data may lie there later.

    Of data names, sizes and times count, as in a build's key.
    """
    found = {}
    for name in (*_CHECKPOINTS, *_DATA):
        section, _, field = name.partition(".")
        folder = Path(getattr(getattr(context.profile, section), field)).expanduser()
        if {name, section} & set(notebook.settings) and len(folder.parts) > 1 and folder.is_dir():
            found[name] = describe_tree(folder) if name in _DATA else context.hashes.tree(folder) or ""
    return found


def _declared_settings(profile: Profile, declared: Sequence[str]) -> dict[str, Any]:
    """Values of the declared settings by dotted name, sections taken apart down to the last level."""
    values = profile.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name in declared:
        value: Any = values
        for part in name.split("."):
            value = value[part]
        found.update(_flat(name, value))
    return found


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [] if name.rpartition(".")[2] in HOW_ASKED else [(name, value)]
    return [pair for key, inner in value.items() for pair in _flat(f"{name}.{key}", inner)]


def _read_state(file: Path, *, keys: Sequence[str]) -> dict[str, Any] | None:
    if not file.exists():
        return None
    advice = "move it away, and the notebook counts as not run"
    try:
        state = read_json(file)
    except ValueError as error:
        raise ValueError(f"{error}; {advice}") from error
    if not isinstance(state, dict) or not state.keys() >= set(keys):
        raise ValueError(f"{file}: not what a run writes there; {advice}")
    return state


@lru_cache(maxsize=8)
def _hash_cache(file: Path) -> HashCache:
    return HashCache(file)
