"""What lies where: every data set that a command reads, what is there of it, and how to get the rest.

Training data and reward benchmarks lie below `data.root`, prompts and benchmarks of the downstream policy
below `downstream.root`. Loaders take their file names from here; `r1reward data check` and `data fetch` are
about everything.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download

from r1reward import benchmarks
from r1reward.data.sources import OTHER_SOURCES, SOURCES
from r1reward.data.sources.base import FilesSpec, SourceSpec
from r1reward.settings import Profile

_PARQUET = ("*.parquet", "data/*.parquet")
_WITH_PICTURES = "rows with pictures"
_HARNESS = "https://opencompass.openxlab.space/utils"


def _by_name(*specs: SourceSpec) -> dict[str, SourceSpec]:
    return {spec.name: spec for spec in specs}


def _reward_benchmark(name: str, hub_id: str, licence: str, count: int, *files: FilesSpec) -> SourceSpec:
    unverified = "no file of the hub was opened"
    return SourceSpec(name, name, hub_id, licence, files, expected_count=count, unverified=unverified)


def _prompts(name: str, hub_id: str, licence: str, *files: FilesSpec) -> SourceSpec:
    unverified = "the schema is from cards and from code that reads it"
    return SourceSpec(name, f"prompts/{name}", hub_id, licence, files, unverified=unverified)


def _downstream(name: str, where: str = "", *, hub_id: str = "") -> SourceSpec:
    """A file of VLMEvalKit, on the hub or at the address `where` of `vlmeval/dataset` in the harness."""
    file = f"{name}.tsv"
    files = FilesSpec(
        _WITH_PICTURES, (file,), (file,) if hub_id else (), f"from {where}, as {file}" if where else ""
    )
    return SourceSpec(name, "benchmarks", hub_id, "not stated", (files,))


TRAINING: Mapping[str, SourceSpec] = _by_name(*(one.spec for one in (SOURCES | OTHER_SOURCES).values()))
REWARD_BENCHMARKS: Mapping[str, SourceSpec] = _by_name(
    _reward_benchmark(
        benchmarks.VL,
        "MMInstruction/VL-RewardBench",
        "mit, research use only",
        1250,
        FilesSpec(_WITH_PICTURES, (*_PARQUET, "*.jsonl"), _PARQUET, "of its split test alone"),
    ),
    _reward_benchmark(
        benchmarks.MULTIMODAL,
        "syhuggingface/multimodal_rewardbench",
        "cc-by-nc-4.0",
        4711,
        FilesSpec(
            "rows",
            (*_PARQUET, "data/all_data.json", "all_data.json"),
            _PARQUET,
            "a mirror; the authors' 0_download_data.py makes data/all_data.json",
        ),
    ),
    _reward_benchmark(
        benchmarks.MM_RLHF,
        "yifanzhang114/MM-RLHF-RewardBench",
        "apache-2.0",
        170,
        FilesSpec("rows", ("mm_reward_bench.jsonl", "*.jsonl"), ("mm_reward_bench.jsonl",)),
        FilesSpec(
            "pictures and frames",
            ("mcq/*", "images/mcq/*"),
            ("images/*",),
            "mcq, long and so on, also in images; a video is a folder of frames",
        ),
    ),
)
PROMPT_SETS: Mapping[str, SourceSpec] = _by_name(
    _prompts(
        "v_star",
        "craigwu/seal_vqa_data",
        "not stated",
        FilesSpec("rows", ("*.json",), ("*.json",)),
        FilesSpec("pictures", ("*/*",), (), "from the data sets that the rows name (COCO, GQA)"),
    ),
    _prompts(
        "arxivqa",
        "MMInstruction/ArxivQA",
        "cc-by-sa-4.0",
        FilesSpec("rows", ("*.jsonl",), ("*.jsonl",)),
        FilesSpec("pictures", ("images/*",), ("images.tgz",), "unpacked"),
    ),
    _prompts(
        "thinklite_vl",
        "russwang/ThinkLite-VL-70k",
        "MIT, by its card",
        FilesSpec(_WITH_PICTURES, _PARQUET, _PARQUET),
    ),
    _prompts(
        "deepeyes_47k",
        "ChenShawn/DeepEyes-Datasets-47k",
        "not stated",
        FilesSpec(_WITH_PICTURES, _PARQUET, _PARQUET),
    ),
)
DOWNSTREAM: Mapping[str, SourceSpec] = PROMPT_SETS | _by_name(
    _downstream("HallusionBench", f"{_HARNESS}/VLMEval/HallusionBench.tsv"),
    _downstream("MMBench_DEV_EN_V11", f"{_HARNESS}/benchmarks/MMBench/MMBench_DEV_EN_V11.tsv"),
    _downstream(
        "MME-RealWorld-Lite",
        "https://huggingface.co/datasets/yifanzhang114/MME-RealWorld-Base64 (mme_realworld_lite.tsv)",
    ),
    _downstream("MMStar", f"{_HARNESS}/VLMEval/MMStar.tsv"),
    _downstream("VStarBench", hub_id="xjtupanda/VStar_Bench"),
    _downstream("LLaVABench", f"{_HARNESS}/VLMEval/LLaVABench.tsv"),
    _downstream("WildVision", f"{_HARNESS}/VLMEval/WildVision.tsv"),
)
CATALOGUE: Mapping[str, SourceSpec] = {**TRAINING, **REWARD_BENCHMARKS, **DOWNSTREAM}


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

    Needed by notebook 01 are the training sources named (none means all of Table 2) and VL-RewardBench.
    """
    needed = {*(sources or SOURCES), benchmarks.VL}
    return [_examine(spec, roots, needed=name in needed) for name, spec in CATALOGUE.items()]


def require(root: Path, *, sources: Collection[str] = ()) -> None:
    """Raise FileNotFoundError with everything that notebook 01 needs and does not find below `root`."""
    missing = [
        f"{state.spec.name} ({' or '.join(files.patterns)} in {state.folder})"
        for state in examine(Roots(root, root), sources=sources)
        for files in state.missing[:1]
        if state.needed
    ]
    if missing:
        raise FileNotFoundError(f"data are missing: {'; '.join(missing)}. `r1reward data check` says more")


def _examine(spec: SourceSpec, roots: Roots, *, needed: bool) -> SourceState:
    folder = roots.of(spec.name) / spec.folder
    counts = ((sum(1 for _ in folder.glob(pattern)) for pattern in files.patterns) for files in spec.files)
    return SourceState(spec, folder, tuple(next(filter(None, count), 0) for count in counts), needed)


def report(states: Iterable[SourceState]) -> Iterator[str]:
    """The states as lines of text."""
    for state in states:
        spec = state.spec
        revision = f"revision {spec.revision}" if spec.revision else "revision unverified"
        about = [
            f"{spec.hub_id} ({revision})" if spec.hub_id else "not on the hub",
            f"licence {spec.licence}",
        ]
        if spec.expected_count:
            about.append(f"{spec.expected_count:,} rows" + (" in Table 2" if spec.table_2_name else ""))
        yield f"{spec.name}: {'; '.join(about)}"
        for files, count in zip(spec.files, state.found, strict=True):
            expected = f"{files.what}: {state.folder}/{' or '.join(files.patterns)}"
            note = f"; {files.note}" if files.note else ""
            there = f"{count:,} there" if count else "MISSING" if state.needed else "absent"
            yield f"  {there:<12} {expected}{note}"
        if spec.unverified:
            yield f"  unverified   {spec.unverified}"


def fetch(names: Sequence[str], roots: Roots) -> Iterator[tuple[str, Path]]:
    """Download data sets one after the other; yields each name with its folder. What is there is kept.

    A name that is not known is a ValueError before anything is fetched. Files that cannot be had (no network,
    no rights, not on the hub, no space) are a RuntimeError that says which they are and where to put them.
    """
    for name in names:
        if name not in CATALOGUE:
            near = difflib.get_close_matches(name, CATALOGUE, n=1)
            advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(CATALOGUE)}"
            raise ValueError(f"there is no data set {name!r}; {advice}")
    for name in names:
        spec = CATALOGUE[name]
        cause = _download(spec, roots.of(name) / spec.folder) if spec.hub_id else ""
        state = _examine(spec, roots, needed=True)
        if cause or state.missing:
            wanted = "; ".join(_where(files, state.folder) for files in state.missing or spec.files)
            raise RuntimeError(f"{spec.hub_id or name} was not fetched whole{cause}. By hand: {wanted}")
        yield name, state.folder


def _download(spec: SourceSpec, folder: Path) -> str:
    """Download what the hub has; returns why that failed, in brackets, or nothing."""
    patterns = [pattern for files in spec.files for pattern in files.hub_patterns]
    where = {"repo_type": "dataset", "revision": spec.revision, "local_dir": folder}
    try:
        snapshot_download(spec.hub_id, allow_patterns=patterns, **where)
    except Exception as error:  # the network fails in many ways, all of which are answered alike
        return f" ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"
    return ""


def _where(files: FilesSpec, folder: Path) -> str:
    names = " or ".join(files.hub_patterns or files.patterns)
    return f"put the {files.what} ({names}) into {folder}" + (f", {files.note}" if files.note else "")
