"""R1-Reward-200K at any size: read, remove duplicates, sample, put the right answer first or second 1:1.

MM-RLHF is taken whole. "an additional 100,000 samples from other multimodal preference datasets" is read
as a draw from the pooled pairs of the other sources, each pair as likely as any other. "We then randomly
shuffle the data to ensure a balanced ratio of answers 1 and 2 (1:1)" is done source by source, so that no
source leans (paper §3.2).

Texts are never all in memory, ids and digests are. A killed build goes on at the source it was reading.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jinja2 import StrictUndefined, Template

from r1reward.data.index import (
    COLUMNS,
    BenchmarkPairs,
    Fingerprint,
    count_kinds,
    digest,
    draw_pairs,
    find_duplicates,
    find_overlaps,
    fingerprint,
    fingerprint_benchmark,
    index_row,
    read_drawn,
)
from r1reward.data.rows import Quarantine
from r1reward.data.sources import OTHER_SOURCES, RELEASED_FOR_RL, SOURCES, Source
from r1reward.data.sources.base import is_shortage
from r1reward.data.sources.pictures import shown_size
from r1reward.data.storage import iterate_pairs, pair_to_row, write_rows
from r1reward.files import (
    RefusedRow,
    atomic_stream,
    describe_tree,
    read_json,
    sha256_file,
    sync,
    write_atomic,
    write_json,
)
from r1reward.pictures import Budget
from r1reward.types import PreferencePair

WHOLE_SOURCES = ("mm_rlhf_long", "mm_rlhf_short", "mm_rlhf_mcq", "mm_rlhf_safety", *OTHER_SOURCES)
# The code that decides what the same files and settings give.
CODE = (
    *("build.py", "index.py", "rows.py", "storage.py"),
    *("sources/*.py", "../pictures.py"),
)
PAIRS, CARD, READ = "pairs.jsonl", "data_card.json", "read"
CARD_TEMPLATE = Path(__file__).with_name("card.md.j2")


@dataclass(frozen=True, slots=True)
class BuiltData:
    """The pairs in the file `path`, in training order, and the card that counts them.

    Iterating reads the file; `list(built)` holds all pairs in memory. Pairs whose ids are `held_out` stay
    in the file and in the card, but are not iterated.
    """

    path: Path
    card: Mapping[str, Any]
    held_out: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[PreferencePair]:
        return (pair for pair in iterate_pairs(self.path) if pair.pair_id not in self.held_out)

    def __len__(self) -> int:
        return self.card["pairs"] - len(self.held_out)

    def to_annotate(self) -> BuiltData:
        """The pairs that an annotator is asked about: those that were not released as RL data."""
        if not any(name in self.sources for name in RELEASED_FOR_RL):
            return self
        released = {pair.pair_id for pair in self if pair.source in RELEASED_FOR_RL}
        return replace(self, held_out=self.held_out | released)

    def hold_out(self, count: int, *, seed: int) -> tuple[BuiltData, list[PreferencePair]]:
        """The rest, and at least `count` pairs of pictures drawn by `seed`, none of which the rest shows."""
        counts = Counter(_picture(pair) for pair in self)
        pictures = sorted(counts)
        drawn, pairs = set[str](), 0
        for index in np.random.default_rng([seed, len(pictures)]).permutation(len(pictures)):
            if pairs >= count:
                break
            drawn.add(pictures[index])
            pairs += counts[pictures[index]]
        validation = [pair for pair in self if _picture(pair) in drawn]
        ids = self.held_out | {pair.pair_id for pair in validation}
        return replace(self, held_out=ids), validation

    @property
    def sources(self) -> Mapping[str, Mapping[str, Any]]:
        """What was read, left out and sampled of each source."""
        return self.card["sources"]

    @property
    def positions(self) -> Mapping[str, int]:
        """How many pairs prefer response 1 and response 2."""
        return self.card["positions"]


def _picture(pair: PreferencePair) -> str:
    return (*pair.images, *pair.frames, pair.pair_id)[0]


@dataclass(frozen=True)
class _Build:
    """Everything that decides what comes out of a build."""

    root: Path
    out: Path
    cache: Path
    sources: Mapping[str, Source]
    benchmark: BenchmarkPairs
    settings: Mapping[str, Any]
    budget: Budget | None

    @cached_property
    def key(self) -> str:
        """Changes with files, pictures included, settings and code; not where everything is moved."""
        folders = sorted({source.spec.folder for source in self.sources.values()})
        files = {folder: describe_tree(self.root / folder) for folder in folders}
        places = [os.path.relpath(place, self.out) for place in (self.root, self.cache)]
        names = list(self.sources)
        parts = [_describe_code(), places, self.settings, names, files, self.benchmark.key]
        return digest(json.dumps(parts)).hex()


def build_dataset(
    root: Path,
    out: Path,
    *,
    sampled_pairs: int,
    seed: int,
    cache: Path | None = None,
    sources: Mapping[str, Source] = SOURCES,
    benchmark: Iterable[PreferencePair] = (),
    overlap: Literal["report", "remove"] = "report",
    budget: Budget | None = None,
    progress: Callable[[str], None] | None = None,
) -> BuiltData:
    """Build the preference data from `<root>/<source>` folders; the same seed gives the same file.

    `out` gets `pairs.jsonl`, `data_card.json` and `.md`, `duplicates.jsonl`, `overlap.jsonl` and
    `quarantine/<source>.jsonl`. Of the sources that are not taken whole `sampled_pairs` are drawn (all,
    if there are fewer). Embedded pictures go to `<cache>/<source>` (default: `out/pictures`). With
    `overlap` "remove" pairs that are in `benchmark` are left out. With a `budget` a pair whose picture cannot
    be shown in it is refused, as it would be when it is to be learnt from. `progress` is told every stage. A
    missing source is a FileNotFoundError. After a kill or a full disk (OSError) the same call goes on.
    """
    # Sources taken whole are read first: of two equal pairs the one that people judged stays.
    ordered = sorted(sources, key=lambda name: name not in WHOLE_SOURCES)
    build = _Build(
        Path(root),
        Path(out),
        Path(cache or Path(out) / "pictures"),
        {name: sources[name] for name in ordered},
        fingerprint_benchmark(benchmark),
        {"sampled_pairs": sampled_pairs, "seed": seed, "overlap": overlap,
         "pixels": [budget.min_pixels, budget.max_pixels] if budget else None},
        budget,
    )  # fmt: skip
    finished = _finished(build)
    if not finished:
        for half_written in [*build.out.glob(".*.tmp"), *build.out.glob(f"{READ}/.*.tmp")]:
            half_written.unlink()
        card = _run_stages(build, progress or (lambda _: None))
        card["sha256"] = sha256_file(build.out / PAIRS)
        write_card(build.out / CARD, card)
        finished = BuiltData(build.out / PAIRS, card)
    shutil.rmtree(build.out / READ, ignore_errors=True)
    return finished


def _finished(build: _Build) -> BuiltData | None:
    """The result of an earlier call with the same files and settings, if nobody has touched it."""
    path, card_path = build.out / PAIRS, build.out / CARD
    try:
        card = read_json(card_path) if card_path.is_file() and path.is_file() else {}
    except ValueError:  # not ours any more: it is built again
        card = {}
    same = card.get("key") == build.key and card.get("sha256") == sha256_file(path)
    return BuiltData(path, card) if same else None


def _run_stages(build: _Build, progress: Callable[[str], None]) -> dict[str, Any]:
    """Run what is left of the build; returns the card but for the hash of the pairs."""
    counts, parts, ids = {}, [pd.DataFrame(columns=list(COLUMNS))], set[str]()
    for name in build.sources:
        progress(f"reading {name}")
        part, counts[name] = _read_source(build, name, ids)
        parts.append(part)
        ids.update(part["pair_id"])
    pairs = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    progress("removing duplicates")
    duplicates = find_duplicates(pairs)
    left = pairs.drop(duplicates.index)
    progress("comparing with benchmarks")
    overlaps = find_overlaps(left, build.benchmark)
    if build.settings["overlap"] == "remove":
        left = left.drop(overlaps.query("kind == 'pair'").index)
    progress("sampling")
    whole = [name for name in build.sources if name in WHOLE_SOURCES]
    how = {"count": build.settings["sampled_pairs"], "seed": build.settings["seed"]}
    drawn = draw_pairs(left, whole=whole, **how)
    progress("writing")
    write_rows(build.out / "duplicates.jsonl", _noted(duplicates))
    write_rows(build.out / "overlap.jsonl", _noted(overlaps))
    files = {name: build.out / READ / f"{name}.jsonl" for name in build.sources}
    write_rows(build.out / PAIRS, read_drawn(drawn, files))
    noted = {"duplicates": count_kinds(duplicates), "overlap": count_kinds(overlaps)}
    return _make_card(build, counts, left=left, drawn=drawn, noted=noted)


def _noted(found: pd.DataFrame) -> Iterator[dict[str, str]]:
    return (row for row in found[["pair_id", "kind", "original"]].to_dict("records"))  # type: ignore[misc]


def _read_source(build: _Build, name: str, ids: Set[str]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The index of a source's pairs but those of `ids`, and how many there are and what was left out.

    A source that an earlier call has read is not read again: its rows, index and counts lie in `READ`, the
    counts last.
    """
    rows, index, done = (build.out / READ / f"{name}.{kind}" for kind in ("jsonl", "parquet", "json"))
    known = read_json(done) if done.is_file() else {}
    if known.get("key") == build.key:
        return pd.read_parquet(index), known["counts"]
    found, path = list[tuple[Any, ...]](), build.out / "quarantine" / f"{name}.jsonl"
    own, offset, seed = set[str](), 0, build.settings["seed"]
    with Quarantine(path) as quarantine, atomic_stream(rows) as stream:
        for pair, marks in _marked(build, name, quarantine):
            if pair.pair_id in ids or pair.pair_id in own:
                quarantine.add("refused", name, pair.origin, "pair id occurs twice", pair.pair_id)
                continue
            found.append(index_row(pair, marks, seed=seed, offset=offset))
            own.add(pair.pair_id)
            line = json.dumps(pair_to_row(pair, build.out), ensure_ascii=False) + "\n"
            offset += stream.write(line.encode("utf-8"))
    sync(path)
    frame = pd.DataFrame(found, columns=list(COLUMNS))
    content = io.BytesIO()
    frame.to_parquet(content)
    write_atomic(index, content.getvalue())
    kinds = {kind: dict(sorted(reasons.items())) for kind, reasons in quarantine.counts[name].items()}
    write_json(done, {"key": build.key, "counts": kinds})
    return frame, kinds


def _marked(build: _Build, name: str, quarantine: Quarantine) -> Iterator[tuple[PreferencePair, Fingerprint]]:
    """The usable pairs of a source, the chosen response first, with their fingerprints."""
    source = build.sources[name]
    folder = build.root / source.spec.folder
    for pair in source.read(folder, quarantine=quarantine, cache=build.cache / name):
        try:
            marks = fingerprint(pair)
            if build.budget:
                for picture in (*pair.images, *pair.frames):
                    shown_size(picture, build.budget, pair.origin)
        except RefusedRow as fault:
            quarantine.refuse(name, fault)
        except (OSError, UnicodeError) as error:
            if is_shortage(error):
                raise
            quarantine.add("refused", name, pair.origin, "unreadable picture or text", str(error))
        else:
            turned = pair.preferred == 2 and not source.chosen_first
            yield (pair.swapped() if turned else pair), marks


def _make_card(
    build: _Build,
    refused: Mapping[str, Mapping[str, Mapping[str, int]]],
    *,
    left: pd.DataFrame,
    drawn: pd.DataFrame,
    noted: Mapping[str, Mapping[str, Mapping[str, int]]],
) -> dict[str, Any]:
    total, sources = len(drawn), {}
    for name, source in build.sources.items():
        removed = noted["duplicates"].get(name, {})
        swapped = drawn.loc[drawn["source"] == name, "swapped"].tolist()
        sides = {"1": swapped.count(False), "2": swapped.count(True)}
        usable = left["source"].tolist().count(name)
        gone = sum(removed.values())
        if build.settings["overlap"] == "remove":
            gone += noted["overlap"].get(name, {}).get("pair", 0)
        sources[name] = {
            "hub_id": source.spec.hub_id,
            "licence": source.spec.licence,
            "expected": source.spec.expected_count,
            "taken": "whole" if name in WHOLE_SOURCES else "sampled",
            "read": usable + gone + sum(sum(found.values()) for found in refused[name].values()),
            **refused[name],
            "duplicates": removed,
            "overlap": noted["overlap"].get(name, {}),
            "usable": usable,
            "sampled": sum(sides.values()),
            "weight": sum(sides.values()) / total if total else 0.0,
            "positions": sides,
        }
    pool = [counts for counts in sources.values() if counts["taken"] == "sampled"]
    return {
        **build.settings,
        "key": build.key,
        "pairs": total,
        "positions": {side: sum(counts["positions"][side] for counts in sources.values()) for side in "12"},
        "pool": {name: sum(counts[name] for counts in pool) for name in ("usable", "sampled")},
        "benchmark": {
            "pairs": len(build.benchmark.fingerprints),
            "shared_sources": dict(build.benchmark.shared_sources),
        },
        "sources": sources,
    }


def write_card(file: Path, card: Mapping[str, Any]) -> None:
    """Write the card of a build as JSON, and as markdown for reading beside it."""
    write_atomic(file.with_suffix(".md"), render_card(card))
    write_json(file, card)


def render_card(card: Mapping[str, Any]) -> str:
    """The card as markdown: settings, one row a source, and the reasons behind each sum."""
    left_out = [
        f"{name}, {kind}: {reason}, {count:,}"
        for name, counts in card["sources"].items()
        for kind in ("dropped", "refused", "duplicates", "overlap")
        for reason, count in counts[kind].items()
    ]
    text = CARD_TEMPLATE.read_text(encoding="utf-8")
    template = Template(text, trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
    return template.render(card=card, left_out=left_out, n="{:,}".format)


def _describe_code() -> str:
    """Changes with the code that a build runs."""
    here = Path(__file__).parent
    files = sorted(file for pattern in CODE for file in here.glob(pattern))
    return digest(*(part for file in files for part in (file.name, file.read_bytes()))).hex()
