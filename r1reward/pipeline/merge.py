"""Publishing some notebooks of a run: the committed results of the others stay as they are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from r1reward.files import read_json
from r1reward.locks import acquire, release
from r1reward.pipeline.dag import Notebook, maker_of
from r1reward.pipeline.places import resolve
from r1reward.pipeline.publish import NotPublishableError, install
from r1reward.pipeline.rendering import Render, draw
from r1reward.pipeline.staleness import Context, State, examine, input_digest
from r1reward.pipeline.verify import redraw
from r1reward.report.packing import RecordFiles, unpack
from r1reward.report.records import read_manifests

# What a training leaves among the records: its settings, the hash of its start and that of its weights.
TRAINED = "status.json"


def publish_notebooks(
    context: Context, notebooks: Sequence[Notebook], *, render: Render = draw
) -> list[Path]:
    """Replace what the notebooks measured in results/<profile>, and draw everything again.

    Returns the folders of results and figures. Raises NotPublishableError where a notebook is not finished
    and fresh, or where what is published and stays has other seeds, has read other outputs of the notebooks,
    or has other weights by the same name.
    """
    lock = context.folder / ".lock"
    acquire(lock, what=f"the run folder {context.folder}")
    try:
        faults = [
            *_unfinished(context, notebooks),
            *_other_seeds(context, notebooks),
            *_other_inputs(context, notebooks),
            *_other_weights(context, notebooks),
        ]
        if faults:
            raise NotPublishableError("\n".join(faults))
        with tempfile.TemporaryDirectory() as temporary:
            merged = _merge(context, notebooks, Path(temporary) / "merged")
            return install(context, redraw(merged, Path(temporary) / context.profile.name, render=render))
    finally:
        release(lock)


def _unfinished(context: Context, notebooks: Sequence[Notebook]) -> Iterator[str]:
    for notebook in notebooks:
        standing = examine(context, notebook)
        if standing.state is not State.FRESH:
            yield f"{notebook.name} is {standing.state}: {'; '.join(standing.reasons)}"


def _other_seeds(context: Context, notebooks: Sequence[Notebook]) -> Iterator[str]:
    """Published notebooks that ran with other seeds than this run."""
    seeds = context.parameters.seed_list(context.profile)
    for name, manifest in _published_beside(context, notebooks):
        others = manifest.get("seeds", seeds)
        if others != seeds:
            yield (
                f"{name} is published with seeds {others}, this run has {seeds}: publish the whole run, "
                f"or take the seeds that are published (--seed {others[0]} --seeds {len(others)})"
            )


def _other_inputs(context: Context, notebooks: Sequence[Notebook]) -> Iterator[str]:
    """Published notebooks that read what the chosen ones write, but have read something else than this."""
    for name, manifest in _published_beside(context, notebooks):
        for path, digest in ((manifest.get("lock") or {}).get("inputs") or {}).items():
            maker = maker_of(path, notebooks)
            if maker and digest != input_digest(context, path):
                yield (
                    f"{name} is published with another {path} than {maker.name} wrote here: publish it too "
                    f"({context.command(name)}), or the whole run"
                )


def _published_beside(
    context: Context, notebooks: Sequence[Notebook]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Manifests of what is published and stays, by notebook."""
    chosen = {notebook.name for notebook in notebooks}
    published = read_manifests(context.places.results(context.profile.name), keys=())
    return ((name, manifest) for name, manifest in published.items() if name not in chosen)


def _other_weights(context: Context, notebooks: Sequence[Notebook]) -> Iterator[str]:
    """Trainings of other notebooks whose published weights are not those that this run went on from."""
    records = context.folder / "records"
    published = RecordFiles(context.places.results(context.profile.name) / "records")
    for name in (name for name in published.names if name.rpartition("/")[2] == TRAINED):
        here = records / name
        if any(notebook.writes(f"records/{name}") for notebook in notebooks) or not here.is_file():
            continue
        if read_json(here).get("weights") != published.document(name).get("weights"):
            yield f"{here} names other weights than the published record: publish the whole run"


def _merge(context: Context, notebooks: Sequence[Notebook], target: Path) -> Path:
    published = context.places.results(context.profile.name)
    (target / "records").mkdir(parents=True)
    unpack(published / "records", target / "records")
    if (published / "manifests").is_dir():
        shutil.copytree(published / "manifests", target / "manifests")
    for notebook in notebooks:
        for declared in (name for name in notebook.outputs if name.startswith("records/")):
            for old in resolve(target, declared):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            for new in resolve(context.folder, declared):
                _copy(new, target / new.relative_to(context.folder))
        _copy(context.manifest_file(notebook), target / "manifests" / f"{notebook.name}.json")
    return target


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
