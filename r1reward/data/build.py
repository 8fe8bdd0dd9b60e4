"""R1-Reward-200K at any size: sample the sources, put the right answer first or second 1:1 (paper §3.2).

"an additional 100,000 samples from other multimodal preference datasets" is read as a draw from the
pooled pairs of these data sets, each pair as likely as any other. "We then randomly shuffle the data to
ensure a balanced ratio of answers 1 and 2 (1:1)" is done source by source, so that no source leans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r1reward.data.quarantine import Quarantine
from r1reward.data.sources import SOURCES, Source
from r1reward.types import PreferencePair


@dataclass(frozen=True, slots=True)
class BuiltData:
    """The built pairs in training order; per source the rows seen, sampled and dropped; and the seed."""

    pairs: tuple[PreferencePair, ...]
    sources: Mapping[str, Mapping[str, Any]]
    seed: int

    @property
    def positions(self) -> dict[str, int]:
        """How many pairs prefer response 1 and response 2."""
        counts = Counter(pair.preferred for pair in self.pairs)
        return {"1": counts[1], "2": counts[2]}


def balance_positions(pairs: Sequence[PreferencePair], *, rng: np.random.Generator) -> list[PreferencePair]:
    """Exchange the responses of a random half of the pairs, in which response 1 is preferred.

    With an odd number a coin decides which position gets the one more. A pair that prefers response 2
    is a ValueError, because the counts would not balance.
    """
    for pair in pairs:
        if pair.preferred != 1:
            raise ValueError(f"{pair.pair_id}: the chosen response must come first before shuffling")
    odd_one = int(rng.integers(2)) if len(pairs) % 2 else 0
    chosen = set(rng.permutation(len(pairs))[: len(pairs) // 2 + odd_one].tolist())
    return [pair.swapped() if index in chosen else pair for index, pair in enumerate(pairs)]


def build_dataset(
    root: Path,
    *,
    sampled_pairs: int,
    seed: int,
    cache: Path | None = None,
    sources: Mapping[str, Source] = SOURCES,
    progress: Callable[[str], None] | None = None,
) -> BuiltData:
    """Build the preference data from the sources below `root`; the same seed gives the same data.

    Draws `sampled_pairs` of all usable pairs (all of them, if there are fewer), balances positions
    within each source and shuffles everything. Embedded pictures of drawn pairs go to
    `<cache>/<source>`, by default into the source's own folder.
    """
    root = Path(root)
    notes = Quarantine()
    folders = {name: root / source.spec.folder for name, source in sources.items()}
    usable = {name: _usable_ids(source, folders[name], notes) for name, source in sources.items()}
    drawn = _draw(usable, sampled_pairs, np.random.default_rng([seed, 0]))
    pairs: list[PreferencePair] = []
    for index, (name, source) in enumerate(sources.items()):
        if progress:
            progress(name)
        folder = cache / name if cache else None
        keep = drawn[name].__contains__
        read = list(source.read(folders[name], quarantine=notes, keep=keep, cache=folder))
        pairs += balance_positions(read, rng=np.random.default_rng([seed, 1, index]))
    order = np.random.default_rng([seed, 2]).permutation(len(pairs))
    counts = {
        name: {
            "original": len(usable[name]) + notes.total(name, "dropped"),
            "sampled": len(drawn[name]),
            "dropped": dict(sorted(notes.counts[name]["dropped"].items())),
        }
        for name in sources
    }
    return BuiltData(tuple(pairs[i] for i in order), counts, seed)


def _usable_ids(source: Source, folder: Path, notes: Quarantine) -> list[str]:
    """Ids of all usable rows, without touching a picture."""
    ids: list[str] = []

    def note(pair_id: str) -> bool:
        ids.append(pair_id)
        return False

    for _ in source.read(folder, quarantine=notes, keep=note):
        pass
    return ids


def _draw(usable: Mapping[str, Sequence[str]], count: int, rng: np.random.Generator) -> dict[str, set[str]]:
    pool = [(name, pair_id) for name, ids in usable.items() for pair_id in ids]
    drawn: dict[str, set[str]] = {name: set() for name in usable}
    for index in rng.permutation(len(pool))[:count]:
        name, pair_id = pool[index]
        drawn[name].add(pair_id)
    return drawn
