"""Publishing: a finished and fresh run replaces the committed results and figures of its profile."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from r1reward.files import sha256_file, write_atomic
from r1reward.locks import acquire, release
from r1reward.pipeline.places import KEPT, move_aside, walk
from r1reward.pipeline.rendering import DRAWN_FILES, drawing_is_fresh, promised_notebooks
from r1reward.pipeline.staleness import Context, State, examine_all
from r1reward.report.packing import RecordFiles, pack


class NotPublishableError(RuntimeError):
    """A run that is incomplete or stale; the message says in what."""


def publish(context: Context, *, partial: bool = False) -> list[Path]:
    """Replace results/<profile> and figures/<profile> by this run; returns both folders.

    What was published before moves aside into the folder of the run. A `partial` run may lack notebooks: what
    they measure is published as "not run". Raises NotPublishableError where a notebook or a table is missing,
    unfinished or stale, and where a folder of that name holds something else.
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

    The records are published as tables, see `report.packing`.
    Kept runs of a grid stay until the records of the grid itself are there.
    """
    results = context.places.results(context.profile.name)
    figures = context.places.figures(context.profile.name)
    _refuse_foreign(results, figures)
    sources = {name: source / name for name in ("tables", "manifests")}
    files = {name: source / name for name in DRAWN_FILES}
    sources |= {name: file for name, file in files.items() if file.exists()}
    sources |= _executed(context, source)
    for grid in (results / KEPT).glob("*"):
        if not (source / "records" / grid.name).exists():
            sources[f"{KEPT}/{grid.name}"] = grid
    with tempfile.TemporaryDirectory() as temporary:
        sources["records"] = pack(source / "records", Path(temporary) / "records")
        for target, parts in ((results, sources), (figures, {"": source / "figures"})):
            replace_folder(target, parts, dispose=partial(_keep_old, context.folder, target))
    return [results, figures]


def _executed(context: Context, source: Path) -> dict[str, Path]:
    """The executed notebooks of the manifests in `source`, from this run or as they are published."""
    published = context.places.results(context.profile.name) / "notebooks"
    notebooks: dict[str, Path] = {}
    for name, digest in promised_notebooks(source).items():
        places = (context.executed_file(name), published / f"{name}.ipynb")
        kept = [file for file in places if file.is_file() and sha256_file(file) == digest]
        if not kept:
            raise NotPublishableError(f"{places[0]} is not what {name} showed when it ran: run it again")
        notebooks[f"notebooks/{name}.ipynb"] = kept[0]
    return notebooks


def _refuse_foreign(results: Path, figures: Path) -> None:
    """Raise NotPublishableError where the folders that would be replaced hold no published run."""
    if any((results / name).is_dir() for name in ("manifests", KEPT)):
        return
    for folder in (results, figures):
        if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
            raise NotPublishableError(
                f"{folder} holds something else than a published run; give the profile another name"
            )


def _keep_old(folder: Path, target: Path, old: Path) -> None:
    """Move what was published before to the run's folder, unless the same is published again."""
    before, after = ({name: sha256_file(file) for name, file in walk(each)} for each in (old, target))
    if before == after:
        shutil.rmtree(old)
        return
    kept = move_aside(folder, {f"{target.parent.name}/{target.name}": old})
    print(f"what was in {target} is now in {kept}")


def keep_grid_runs(context: Context) -> list[Path]:
    """Copy the records of finished grid runs to results/<profile>/runs, for a grid that goes on elsewhere.

    Reports do not read them: a run of the notebook takes them over where settings and inputs are the same.
    Returns the folders of the runs, in which `run.json` is written last. What is published is not kept again.
    """
    records, results = context.folder / "records", context.places.results(context.profile.name)
    published, copies = RecordFiles(results / "records"), []
    for about in sorted(records.rglob("run.json")):
        name = about.relative_to(records).as_posix()
        if name in published and published.content(name) == about.read_bytes():
            continue
        copies.append(results / KEPT / about.parent.relative_to(records))
        for file in sorted(about.parent.iterdir(), key=lambda path: path == about):
            write_atomic(copies[-1] / file.name, file.read_bytes())
    return copies


def replace_folder(target: Path, sources: dict[str, Path], *, dispose: Callable[[Path], None]) -> None:
    """Replace a folder by copies of files and other folders, each under its name ("" is the folder itself).

    The copy is complete before the old folder moves aside, and the old one is put back if the new
    one cannot take its place. `dispose` is called with the old folder once the new one stands.
    """
    staging, old = (target.with_name(f".{target.name}.{word}") for word in ("new", "old"))
    if old.exists() and not target.exists():
        old.rename(target)
    if old.exists():
        dispose(old)
    shutil.rmtree(staging, ignore_errors=True)  # half a copy, of a process that was killed
    staging.mkdir(parents=True)
    for name, source in sources.items():
        if source.is_file():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
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
    if old.exists():
        dispose(old)


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
        raise NotPublishableError("\n".join([*faults, f"run `{context.command()}` first"]))
