"""Publishing: a finished and fresh run replaces the committed results and figures of its profile."""

from __future__ import annotations

import shutil
from pathlib import Path

from r1reward.files import write_atomic
from r1reward.locks import acquire, release
from r1reward.pipeline.places import KEPT
from r1reward.pipeline.rendering import DRAWN_FILES, drawing_is_fresh
from r1reward.pipeline.staleness import Context, State, examine_all


class NotPublishableError(RuntimeError):
    """A run that is incomplete or stale; the message says in what."""


def publish(context: Context, *, partial: bool = False) -> list[Path]:
    """Replace results/<profile> and figures/<profile> by this run; returns both folders.

    A `partial` run may lack notebooks: what they measure is published as "not run". Raises
    NotPublishableError where a notebook or a table is missing, unfinished or stale.
    """
    lock = context.folder / ".lock"
    acquire(lock, what=f"the run folder {context.folder}")
    try:
        _check(context, partial=partial)
        return install(context, context.folder)
    finally:
        release(lock)


def install(context: Context, source: Path) -> list[Path]:
    """Replace the committed results and figures of a profile by those of a folder; returns both folders.

    Kept runs of a grid stay until the records of the grid itself are there.
    """
    results = context.places.results(context.profile.name)
    figures = context.places.figures(context.profile.name)
    sources = {name: source / name for name in ("records", "tables", "manifests")}
    files = {name: source / name for name in DRAWN_FILES}
    sources |= {name: file for name, file in files.items() if file.exists()}
    for grid in (results / KEPT).glob("*"):
        if not (source / "records" / grid.name).exists():
            sources[f"{KEPT}/{grid.name}"] = grid
    replace_folder(results, sources)
    replace_folder(figures, {"": source / "figures"})
    return [results, figures]


def keep_grid_runs(context: Context) -> list[Path]:
    """Copy the records of finished grid runs to results/<profile>/runs, for a grid that goes on elsewhere.

    Reports do not read them: a run of the notebook takes them over where settings and inputs are the same.
    Returns the folders of the runs, in which `run.json` is written last. What is published is not kept again.
    """
    records, results = context.folder / "records", context.places.results(context.profile.name)
    copies = []
    for about in sorted(records.rglob("run.json")):
        published = results / "records" / about.relative_to(records)
        if published.is_file() and published.read_bytes() == about.read_bytes():
            continue
        copies.append(results / KEPT / about.parent.relative_to(records))
        for file in sorted(about.parent.iterdir(), key=lambda path: path == about):
            write_atomic(copies[-1] / file.name, file.read_bytes())
    return copies


def replace_folder(target: Path, sources: dict[str, Path]) -> None:
    """Replace a folder by copies of files and other folders, each under its name ("" is the folder itself).

    The copy is complete before the old folder moves aside, and the old one is put back if the new
    one cannot take its place.
    """
    staging, old = (target.with_name(f".{target.name}.{word}") for word in ("new", "old"))
    if old.exists() and not target.exists():
        old.rename(target)
    for leftover in (staging, old):
        shutil.rmtree(leftover, ignore_errors=True)
    staging.mkdir(parents=True)
    for name, source in sources.items():
        if source.is_file():
            shutil.copyfile(source, staging / name)
            continue
        ignored = shutil.ignore_patterns("*.attempt.json", "report.json", ".*")
        shutil.copytree(source, staging / name, ignore=ignored, dirs_exist_ok=True)
    if target.exists():
        target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check(context: Context, *, partial: bool) -> None:
    accepted = {State.FRESH, State.NEW} if partial else {State.FRESH}
    faults = [
        f"{name} is {standing.state}: {'; '.join(standing.reasons)}"
        for name, standing in examine_all(context).items()
        if standing.state not in accepted
    ]
    if not faults and not drawing_is_fresh(context):
        faults = ["tables and figures are not drawn from these records"]
    if faults:
        command = f"r1reward run --profile {context.parameters.profile}"
        raise NotPublishableError("\n".join([*faults, f"run `{command}` first"]))
