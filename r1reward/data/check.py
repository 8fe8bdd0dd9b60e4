"""What is there of the data sets, and how to get the rest (`r1reward data check` and `fetch`)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download

from r1reward.data.catalogue import CATALOGUE, DOWNSTREAM, needed_for_training
from r1reward.data.sources import SourceSpec
from r1reward.data.sources.base import FilesSpec
from r1reward.settings import Profile


@dataclass(frozen=True, slots=True)
class SourceState:
    """A data set with, for each of its kinds of files, how many there are in its folder.

    `needed` says whether notebook 01 reads it; the others may be missing.
    """

    spec: SourceSpec
    folder: Path
    found: tuple[int, ...]
    needed: bool

    @property
    def missing(self) -> list[FilesSpec]:
        """What is not there."""
        return [files for files, count in zip(self.spec.files, self.found, strict=True) if not count]


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders of the data sets: of training data and reward benchmarks, and of the downstream sets."""

    data: Path
    downstream: Path

    def of(self, name: str) -> Path:
        """The folder that a data set's own folder lies in."""
        return self.downstream if name in DOWNSTREAM else self.data


def find_roots(root: Path | None, profile: Profile | None) -> Roots:
    """`root` for everything, or the folders of the profile; neither is a ValueError.

    A profile without `downstream.root` has the downstream sets in `data.root`.
    """
    if root is not None:
        return Roots(root, root)
    if profile is None or not profile.data.root:
        where = f"data.root of the profile {profile.name} is empty" if profile else "no folder is named"
        raise ValueError(f"{where}: give --root FOLDER, or --profile with data.root in its file")
    data = Path(profile.data.root)
    return Roots(data, Path(profile.downstream.root or data))


def examine(roots: Roots, *, sources: Collection[str] = ()) -> list[SourceState]:
    """Where every data set stands. Files are looked for by name, none is opened.

    Needed are the training sources named (none means all of Table 2) and VL-RewardBench.
    """
    needed = needed_for_training(sources)
    return [_examine(spec, roots, needed=name in needed) for name, spec in CATALOGUE.items()]


def require(root: Path, *, sources: Collection[str] = ()) -> None:
    """Raise FileNotFoundError with everything that notebook 01 needs and does not find below `root`."""
    states = examine(Roots(root, root), sources=sources)
    missing = [
        f"{state.spec.name} ({' or '.join(files.patterns)} in {state.folder})"
        for state in states
        for files in state.missing[:1]
        if state.needed
    ]
    if missing:
        raise FileNotFoundError(f"data are missing: {'; '.join(missing)}. `r1reward data check` says more")


def _examine(spec: SourceSpec, roots: Roots, *, needed: bool = True) -> SourceState:
    folder = roots.of(spec.name) / spec.folder
    counts = ((sum(1 for _ in folder.glob(pattern)) for pattern in files.patterns) for files in spec.files)
    return SourceState(spec, folder, tuple(next(filter(None, count), 0) for count in counts), needed)


def report(states: Iterable[SourceState]) -> Iterator[str]:
    """The states as lines of text."""
    for state in states:
        spec = state.spec
        yield f"{spec.name}: {'; '.join(_described(spec))}"
        for files, count in zip(spec.files, state.found, strict=True):
            expected = f"{files.what}: {state.folder}/{' or '.join(files.patterns)}"
            note = f"; {files.note}" if files.note else ""
            there = f"{count:,} there" if count else "MISSING" if state.needed else "absent"
            yield f"  {there:<12} {expected}{note}"
        if spec.unverified:
            yield f"  unverified   {spec.unverified}"


def _described(spec: SourceSpec) -> Iterator[str]:
    if spec.hub_id:
        yield f"{spec.hub_id} ({f'revision {spec.revision}' if spec.revision else 'revision unverified'})"
    else:
        yield "not on the hub"
    yield f"licence {spec.licence}"
    if spec.expected_count:
        yield f"{spec.expected_count:,} rows" + (" in Table 2" if spec.table_2_name else "")


def fetch_all(names: Sequence[str], roots: Roots) -> Iterator[tuple[str, Path]]:
    """Fetch data sets one after the other; yields each name with its folder. All names are checked first."""
    for name in names:
        if name not in CATALOGUE:
            near = difflib.get_close_matches(name, CATALOGUE, n=1)
            advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(CATALOGUE)}"
            raise ValueError(f"there is no data set {name!r}; {advice}")
    for name in names:
        yield name, fetch(name, roots)


def fetch(name: str, roots: Roots) -> Path:
    """Download a data set into its folder below its root; what is there already is kept.

    Files that cannot be had (no network, no rights, not on the hub, no space) are a RuntimeError that says
    which they are and where to put them.
    """
    spec = CATALOGUE[name]
    cause = _download(spec, roots.of(name) / spec.folder) if spec.hub_id else ""
    state = _examine(spec, roots)
    if cause or state.missing:
        wanted = "; ".join(_where(files, state.folder) for files in state.missing or spec.files)
        raise RuntimeError(f"{spec.hub_id or name} was not fetched whole{cause}. By hand: {wanted}")
    return state.folder


def _download(spec: SourceSpec, folder: Path) -> str:
    """Download what the hub has; returns why that failed, in brackets, or nothing."""
    patterns = [pattern for files in spec.files for pattern in files.hub_patterns]
    try:
        snapshot_download(
            spec.hub_id,
            repo_type="dataset",
            revision=spec.revision,
            local_dir=folder,
            allow_patterns=patterns,
        )
    except Exception as error:  # the network fails in many ways, all of which are answered alike
        return f" ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"
    return ""


def _where(files: FilesSpec, folder: Path) -> str:
    names = " or ".join(files.hub_patterns or files.patterns)
    return f"put the {files.what} ({names}) into {folder}" + (f", {files.note}" if files.note else "")
