"""What is there of the original data sets, and how to get the rest (`r1reward data check` and `fetch`)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download

from r1reward.data.sources import OTHER_SOURCES, SOURCES, SourceSpec
from r1reward.data.sources.base import FilesSpec

SPECS = {name: source.spec for name, source in (SOURCES | OTHER_SOURCES).items()}


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source with, for each of its kinds of files, how many there are in its folder."""

    spec: SourceSpec
    folder: Path
    found: tuple[int, ...]

    @property
    def needed(self) -> bool:
        """Whether Table 2 has the source; the others may be missing."""
        return self.spec.name in SOURCES

    @property
    def missing(self) -> list[FilesSpec]:
        """What is not there."""
        return [files for files, count in zip(self.spec.files, self.found, strict=True) if not count]


def examine(root: Path) -> list[SourceState]:
    """Where every source stands below the data root. Files are looked for by name, none is opened."""
    return [_examine(spec, Path(root)) for spec in SPECS.values()]


def _examine(spec: SourceSpec, root: Path) -> SourceState:
    folder = root / spec.folder
    counts = ((sum(1 for _ in folder.glob(pattern)) for pattern in files.patterns) for files in spec.files)
    return SourceState(spec, folder, tuple(next(filter(None, count), 0) for count in counts))


def report(states: Iterable[SourceState]) -> Iterator[str]:
    """The states as lines of text."""
    for state in states:
        spec = state.spec
        rows = f"{spec.expected_count:,} rows in Table 2" if spec.expected_count else "not in Table 2"
        revision = f"revision {spec.revision}" if spec.revision else "revision unverified"
        yield f"{spec.name}: {spec.hub_id} ({revision}; licence {spec.licence}; {rows})"
        for files, count in zip(spec.files, state.found, strict=True):
            expected = f"{files.what}: {state.folder}/{' or '.join(files.patterns)}"
            note = f"; {files.note}" if files.note else ""
            there = f"{count:,} there" if count else "MISSING" if state.needed else "absent"
            yield f"  {there:<12} {expected}{note}"
        if spec.unverified:
            yield f"  unverified   {spec.unverified}"


def fetch(name: str, root: Path) -> Path:
    """Download a source into its folder below the data root; what is there already is kept.

    An unknown name is a ValueError. Files that cannot be had (no network, no rights, not on the hub)
    are a RuntimeError that says which they are and where to put them.
    """
    if name not in SPECS:
        near = difflib.get_close_matches(name, SPECS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(SPECS)}"
        raise ValueError(f"there is no source {name!r}; {advice}")
    spec = SPECS[name]
    patterns = [pattern for files in spec.files for pattern in files.hub_patterns]
    cause = ""
    try:
        snapshot_download(
            spec.hub_id,
            repo_type="dataset",
            revision=spec.revision,
            local_dir=Path(root) / spec.folder,
            allow_patterns=patterns,
        )
    except Exception as error:  # the network fails in many ways, all of which are answered alike
        cause = f" ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"
    state = _examine(spec, Path(root))
    if cause or state.missing:
        wanted = "; ".join(_where(files, state.folder) for files in state.missing or spec.files)
        raise RuntimeError(f"{spec.hub_id} was not fetched whole{cause}. By hand: {wanted}")
    return state.folder


def _where(files: FilesSpec, folder: Path) -> str:
    names = " or ".join(files.hub_patterns or files.patterns)
    return f"put the {files.what} ({names}) into {folder}" + (f", {files.note}" if files.note else "")
