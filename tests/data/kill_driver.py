"""A build that kills itself: python kill_driver.py WORLD OUT TARGET COUNT.

TARGET names what it dies in, at its COUNT-th call.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.data import build, storage
from r1reward.data.build import BuiltData, build_dataset
from r1reward.data.sources import SOURCES

TARGETS: dict[str, tuple[Any, str]] = {
    "row of a source": (build, "index_row"),
    "counts of a source": (build, "write_json"),
    "duplicates": (build, "find_duplicates"),
    "draw": (build, "draw_pairs"),
    "line of a file": (storage.json, "dumps"),
    "card": (build, "render_card"),
    "removal of what was read": (shutil, "rmtree"),
}


def dying(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    calls = 0

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return wrapper


def run(world: Path, out: Path) -> BuiltData:
    """A build with a benchmark pair to be removed and pairs that are not drawn."""
    known = next(iter(SOURCES["povid"].read(world / "povid")))
    benchmark = [*load_benchmark(world / "vl_rewardbench"), replace(known, pair_id="known", source="known")]
    pool = {name: SOURCES[name] for name in ("rlaif_v", "vl_feedback", "povid")}
    return build_dataset(
        world, out, sampled_pairs=70, seed=4, sources=pool, benchmark=benchmark, overlap="remove"
    )


if __name__ == "__main__":
    world, out, target, count = sys.argv[1:]
    module, name = TARGETS[target]
    setattr(module, name, dying(getattr(module, name), int(count)))
    run(Path(world), Path(out))
