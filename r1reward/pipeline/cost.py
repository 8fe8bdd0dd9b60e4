"""What lies in a notebook's outputs: the time that was spent on it, and starting afresh without losing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1reward.pipeline.aside import move_aside
from r1reward.pipeline.dag import Notebook, sources_of
from r1reward.pipeline.hashing import resolve, walk
from r1reward.pipeline.staleness import (
    Context,
    State,
    can_resume,
    compare_locks,
    compute_lock,
    examine,
    measuring_lock,
)
from r1reward.progress import clock

# What took no longer is started afresh without asking.
SHORT_SECONDS = 60.0


class StaleWorkError(RuntimeError):
    """Work that was made with other code, settings or inputs stands in the way; the message names them."""


def outputs_of(context: Context, notebook: Notebook) -> list[Path]:
    """What there is of a notebook's outputs, folders without any file left out."""
    found = [path for declared in notebook.outputs for path in resolve(context.folder, declared)]
    return [path for path in found if path.is_file() or next(walk(path), None)]


def seconds_spent(context: Context, notebook: Notebook) -> float | None:
    """Seconds that the work in a notebook's outputs took, all attempts together; None where nobody knows."""
    attempt = context.attempt(notebook)
    if attempt is None:
        manifest = context.manifest(notebook) or {}
        return manifest.get("work_seconds", manifest.get("wall_seconds"))
    if "begun" not in attempt:
        return None
    earlier = attempt["earlier_seconds"]
    if earlier is None:
        return None
    return earlier + max(0.0, _last_activity(context, notebook) - attempt["begun"])


def earlier_seconds(context: Context, notebook: Notebook) -> float | None:
    """Seconds behind what a run that begins now goes on from: 0 where nothing is, None where nobody knows."""
    return seconds_spent(context, notebook) if outputs_of(context, notebook) else 0.0


def why_afresh(context: Context, notebook: Notebook, lock: Mapping[str, Any], *, force: bool) -> list[str]:
    """Why what lies in the outputs is not continued under this lock; empty where it is, or is nothing.

    With `force` a finished run is not continued either; an attempt under the same lock always is.
    """
    if not outputs_of(context, notebook):
        return []
    if force and not context.attempt(notebook):
        return ["--force"]
    if can_resume(context, notebook, lock):
        return []
    known = context.attempt(notebook) or context.manifest(notebook) or {}
    if not known.get("lock"):
        return ["it is left over from work by hand, outside `r1reward run`"]
    reasons = compare_locks(measuring_lock(known["lock"]), measuring_lock(lock), context.notebooks)
    return reasons or list(examine(context, notebook).reasons)


def start_afresh(context: Context, notebook: Notebook, reasons: Sequence[str], *, force: bool) -> None:
    """Move a notebook's outputs and its manifest aside.

    Raises StaleWorkError, and moves nothing, where they took more than a minute and nothing `force`s it.
    """
    if not force and (refusal := _refusal(context, notebook, reasons)):
        raise StaleWorkError(f"{refusal}; {_advice(context, [notebook.name])}")
    state = [context.manifest_file(notebook), context.attempt_file(notebook)]
    paths = [*outputs_of(context, notebook), *state]
    target = move_aside(context.folder, {path.relative_to(context.folder).as_posix(): path for path in paths})
    print(f"{notebook.name}: starts afresh ({'; '.join(reasons)}); what was there is in {target}")


def refuse_stale_work(context: Context, wanted: Sequence[Notebook], *, forced: Sequence[Notebook]) -> None:
    """Raise StaleWorkError before anything runs where a run of the `wanted` would start long work afresh.

    For the `forced` ones that is allowed.
    """
    renewed: set[str] = set()
    refusals = {}
    for notebook in wanted:
        force = notebook in forced
        reasons = _reasons_to_renew(context, notebook, renewed, force=force)
        if reasons:
            renewed.add(notebook.name)
        if reasons and not force and (refusal := _refusal(context, notebook, reasons)):
            refusals[notebook.name] = refusal
    if refusals:
        raise StaleWorkError("\n".join([*refusals.values(), _advice(context, list(refusals))]))


def _reasons_to_renew(context: Context, notebook: Notebook, renewed: set[str], *, force: bool) -> list[str]:
    """Why a run would start a notebook afresh, as far as can be known before what it reads has run."""
    lock = compute_lock(context, notebook)
    if not force and examine(context, notebook).state is State.FRESH:
        reasons = []
    else:
        reasons = why_afresh(context, notebook, lock, force=force)
    sources = [source.name for source in sources_of(notebook, context.notebooks) if source.name in renewed]
    if sources and outputs_of(context, notebook):
        reasons.append(f"it reads what {', '.join(sources)} would make afresh")
    return reasons


def _refusal(context: Context, notebook: Notebook, reasons: Sequence[str]) -> str:
    """Why a notebook's work is not set aside without being told to; "" where it is small."""
    seconds = seconds_spent(context, notebook)
    if seconds is not None and seconds <= SHORT_SECONDS:
        return ""
    took = f"work of {clock(seconds)}" if seconds is not None else "work of unknown length"
    return f"{notebook.name}: {took} would be started afresh: {'; '.join(reasons)}"


def _advice(context: Context, names: Sequence[str]) -> str:
    command = context.command(*names, options="--force")
    return f"undo the change, take another profile name or --out, or move the work aside: {command}"


def _last_activity(context: Context, notebook: Notebook) -> float:
    """Time (seconds since 1970) of the newest file that the notebook wrote."""
    files = [file for path in outputs_of(context, notebook) for file in _files(path)]
    files.append(context.folder / "executed" / f"{notebook.name}.log")
    return max((file.stat().st_mtime for file in files if file.exists()), default=0.0)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for _, file in walk(path)]
