"""The reward benchmarks of a folder of data sets, each read by its own loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from r1reward import benchmarks
from r1reward.bench import mm_rlhf_rewardbench, multimodal_rewardbench, vl_rewardbench
from r1reward.types import PreferencePair

VALIDATION = "vl_rewardbench_validation"
_LOADERS: Mapping[str, Callable[[Path, Path], list[PreferencePair]]] = {
    benchmarks.VL: lambda folder, cache: vl_rewardbench.load_benchmark(folder, cache=cache),
    benchmarks.MULTIMODAL: lambda folder, cache: multimodal_rewardbench.load_benchmark(folder, cache=cache),
    benchmarks.MM_RLHF: lambda folder, cache: mm_rlhf_rewardbench.load_benchmark(folder),
}
BENCHMARKS = tuple(_LOADERS)


def spread(pairs: Sequence[PreferencePair], limit: int) -> list[PreferencePair]:
    """About `limit` pairs spread evenly over a benchmark, whose files are sorted by group.

    The pairs of a question stay together.
    """
    if len(pairs) <= limit:
        return list(pairs)
    names = [str(pair.meta.get("question", index)) for index, pair in enumerate(pairs)]
    questions = list(dict.fromkeys(names))
    count = max(1, len(questions) * limit // len(pairs))
    chosen = {questions[index * len(questions) // count] for index in range(count)}
    return [pair for pair, name in zip(pairs, names, strict=True) if name in chosen]


def load_validation(root: Path, *, cache: Path) -> list[PreferencePair]:
    """The split that settings are chosen on, where `root` has one (the mini world has); else nothing."""
    folder = root / VALIDATION
    return vl_rewardbench.load_benchmark(folder, cache=cache / VALIDATION) if folder.is_dir() else []


def load_benchmarks(root: Path, *, cache: Path) -> dict[str, list[PreferencePair]]:
    """Pairs of every benchmark that has a folder below `root`, by name; VL-RewardBench must be there.

    Embedded pictures are written to `<cache>/<name>`. Faulty rows are left out, see
    `data.rows.read_benchmark`. Raises FileNotFoundError.
    """
    wanted = [name for name in BENCHMARKS if name == benchmarks.VL or (root / name).is_dir()]
    return {name: _LOADERS[name](root / name, cache / name) for name in wanted}
