import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from kill_driver import run

from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.data import build as build_module
from r1reward.data.build import BuiltData
from r1reward.data.sources import SOURCES as ALL_SOURCES
from r1reward.data.sources import pictures as pictures_module
from r1reward.files import read_jsonl
from r1reward.pictures import Budget
from r1reward.types import PreferencePair

# Forty rows each and none of them taken whole, so that counts are round.
SOURCES = {name: ALL_SOURCES[name] for name in ("rlaif_v", "vl_feedback", "povid")}
build_dataset = partial(build_module.build_dataset, sources=SOURCES)


def test_it_samples_the_pool_and_balances_each_source(world: Path, tmp_path: Path) -> None:
    built = build_dataset(world, tmp_path, sampled_pairs=71, seed=3)
    pairs = list(built)
    assert len(pairs) == len(built) == 71 == len({pair.pair_id for pair in pairs})
    for name, counts in built.sources.items():
        own = Counter(pair.preferred for pair in pairs if pair.source == name)
        assert own.total() == counts["sampled"] > 0 and abs(own[1] - own[2]) <= 1
        assert counts["positions"] == {"1": own[1], "2": own[2]}
        assert counts["weight"] == own.total() / 71
        assert counts["read"] == 40 and counts["taken"] == "sampled"
    assert sum(built.positions.values()) == 71
    assert [pair.source for pair in pairs] != sorted(pair.source for pair in pairs)
    assert all(Path(picture).is_file() for pair in pairs for picture in pair.images)


def test_positions_and_order_say_nothing_about_the_content(world: Path, tmp_path: Path) -> None:
    """Swapped back, every pair is as its loader gave it."""
    read = {
        pair.pair_id: (pair.question, pair.responses, pair.meta)
        for name, source in SOURCES.items()
        for pair in source.read(world / name, cache=tmp_path / "pictures" / name)
    }
    for pair in build_dataset(world, tmp_path, sampled_pairs=100, seed=0):
        whole = pair.swapped() if pair.preferred == 2 else pair
        assert (whole.question, whole.responses, whole.meta) == read[pair.pair_id]


def test_sources_of_the_paper_that_are_whole_are_taken_whole(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("r1reward.data.build.WHOLE_SOURCES", ("povid",))
    built = build_dataset(world, tmp_path, sampled_pairs=10, seed=0)
    assert built.sources["povid"]["sampled"] == built.sources["povid"]["usable"] == 40
    assert len(built) == 50 and built.card["pool"] == {"usable": 80, "sampled": 10}


def test_the_seed_decides_which_pairs_which_sides_and_which_order(world: Path, tmp_path: Path) -> None:
    def build(seed: int, name: str) -> bytes:
        return build_dataset(world, tmp_path / name, sampled_pairs=50, seed=seed).path.read_bytes()

    first, other = build(1, "a"), build(2, "c")
    assert first == build(1, "b")
    drawn, others = ({json.loads(row)["pair_id"] for row in data.splitlines()} for data in (first, other))
    assert drawn != others


def test_every_pair_of_the_pool_is_drawn_equally_often(world: Path, tmp_path: Path) -> None:
    drawn = Counter[str]()
    sides = Counter[tuple[str, int]]()
    for seed in range(20):
        for pair in build_dataset(world, tmp_path / str(seed), sampled_pairs=60, seed=seed):
            drawn[pair.pair_id] += 1
            sides[pair.source, pair.preferred] += 1
    # Half of 120 pairs in each of 20 draws: 10 on average, standard deviation 2.2.
    assert len(drawn) == 120 and max(drawn.values()) <= 19
    assert all(abs(sides[name, 1] - sides[name, 2]) <= 20 for name in SOURCES)


def test_asking_for_more_than_there_is_takes_everything(world: Path, tmp_path: Path) -> None:
    built = build_dataset(world, tmp_path, sampled_pairs=10_000, seed=0)
    assert len(built) == sum(counts["usable"] for counts in built.sources.values()) == 120


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="rlaif_v"):
        build_dataset(tmp_path, tmp_path / "out", sampled_pairs=1, seed=0)


def test_a_finished_build_is_used_until_something_changes(world: Path, tmp_path: Path) -> None:
    stages: list[str] = []

    def build(sampled_pairs: int = 20) -> BuiltData:
        stages.clear()
        return build_dataset(world, tmp_path, sampled_pairs=sampled_pairs, seed=0, progress=stages.append)

    first = build().path.read_bytes()
    assert "reading povid" in stages and not (tmp_path / "read").exists()
    assert build().path.read_bytes() == first and stages == []
    assert len(build(21)) == 21 and stages
    (tmp_path / "pairs.jsonl").write_bytes(first)  # no longer what the card says
    assert len(build(21)) == 21 and stages


def test_what_another_build_has_read_is_read_again(world: Path, tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "povid.json").write_text('{"key": "of another build", "counts": {}}')
    (tmp_path / "read" / "povid.parquet").write_bytes(b"no parquet at all" * 100)
    assert len(build_dataset(world, tmp_path, sampled_pairs=20, seed=0)) == 20


def test_rows_that_cannot_be_read_are_in_the_quarantine(world: Path, tmp_path: Path) -> None:
    def spoilt(*arguments: object, **options: object):
        for number, pair in enumerate(SOURCES["povid"].read(*arguments, **options)):  # type: ignore[arg-type]
            yield pair
            if number == 3:
                yield pair  # its id occurs twice
            elif number == 5:
                yield PreferencePair("povid-x", "povid", "q", ("a", "b"), 1, ("gone.png",), origin="row x")
            elif number == 7:
                yield PreferencePair("povid-y", "povid", "\ud800", ("a", "b"), 1, pair.images)

    source = type(SOURCES["povid"])(SOURCES["povid"].spec, spoilt)  # type: ignore[arg-type]
    built = build_dataset(world, tmp_path, sampled_pairs=200, seed=0, sources={"povid": source})
    refused = built.sources["povid"]["refused"]
    assert refused == {"pair id occurs twice": 1, "unreadable picture or text": 2} and len(built) == 40
    rows = read_jsonl(tmp_path / "quarantine" / "povid.jsonl")
    assert [row["origin"] for row in rows][1] == "row x" and len(rows) == 3
    assert built.sources["povid"]["read"] == 43


def test_a_loader_must_put_the_chosen_response_first(world: Path, tmp_path: Path) -> None:
    def swapped(*arguments: object, **options: object):
        for pair in SOURCES["povid"].read(*arguments, **options):  # type: ignore[arg-type]
            yield pair.swapped()

    source = type(SOURCES["povid"])(SOURCES["povid"].spec, swapped)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="povid-000000"):
        build_dataset(world, tmp_path, sampled_pairs=1, seed=0, sources={"povid": source})


def test_held_out_pairs_share_no_picture_with_the_rest(world: Path, tmp_path: Path) -> None:
    built = build_dataset(world, tmp_path, sampled_pairs=90, seed=0)
    rest, validation = built.hold_out(20, seed=0)
    assert 20 <= len(validation) < 40 and len(rest) == len(list(rest)) == len(built) - len(validation)
    assert {pair.pair_id for pair in [*rest, *validation]} == {pair.pair_id for pair in built}
    assert not {i for p in rest for i in p.images} & {i for p in validation for i in p.images}
    assert built.hold_out(20, seed=0)[1] == validation != built.hold_out(20, seed=1)[1]
    assert len(built.hold_out(10**6, seed=0)[0]) == 0
    fewer, more = rest.hold_out(20, seed=1)
    assert len(fewer) == len(list(fewer)) == len(built) - len(validation) - len(more)
    left = {pair.pair_id for pair in fewer}
    assert not left & {pair.pair_id for pair in [*validation, *more]}, "what was held out before stays so"


def test_the_card_says_what_the_data_is_made_of(world: Path, tmp_path: Path) -> None:
    benchmark = load_benchmark(world / "vl_rewardbench", cache=tmp_path / "benchmark")
    built = build_dataset(world, tmp_path, sampled_pairs=71, seed=3, benchmark=benchmark)
    text = (tmp_path / "data_card.md").read_text()
    for name, counts in built.sources.items():
        assert f"| {name} | {SOURCES[name].spec.hub_id} | {SOURCES[name].spec.licence} |" in text
        assert f"| {counts['sampled']} | {counts['weight']:.4f} |" in text
    assert "Seed 3" in text and built.card["sha256"] in text and "864 of its 1,250" in text
    assert json.loads((tmp_path / "data_card.json").read_text()) == built.card
    assert built.card["benchmark"]["pairs"] == 30 and built.card["benchmark"]["shared_sources"]["povid"] > 0


def drawn(world: Path, out: Path, seed: int) -> list[PreferencePair]:
    """All 120 pairs of the three sources in training order."""
    return list(build_dataset(world, out, sampled_pairs=500, seed=seed))


def test_sides_are_drawn_and_do_not_take_turns(world: Path, tmp_path: Path) -> None:
    """Of neighbours in the file about half have the other side, others for every seed and source."""
    sides = {
        (seed, name): [
            pair.preferred for pair in sorted(pairs, key=lambda pair: pair.pair_id) if pair.source == name
        ]
        for seed in range(3)
        for pairs in [drawn(world, tmp_path / str(seed), seed)]
        for name in SOURCES
    }
    for ordered in sides.values():
        changes = sum(one != other for one, other in pairwise(ordered))
        assert len(ordered) == 40 and 10 <= changes <= 30  # 19.5 on average, standard deviation 3.1
    assert len({tuple(ordered) for ordered in sides.values()}) == len(sides)


def test_the_order_is_another_one_with_each_seed(world: Path, tmp_path: Path) -> None:
    orders = [[pair.pair_id for pair in drawn(world, tmp_path / str(seed), seed)] for seed in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != sorted(orders[0])
    same = sum(one == other for one, other in zip(*orders, strict=True))
    assert same <= 6  # 1 on average
    # No source stands in a part of its own.
    first = Counter(pair_id.rpartition("-")[0] for pair_id in orders[0][:60])
    assert min(first.values()) >= 10


@pytest.fixture
def own_world(world: Path, tmp_path: Path) -> Path:
    """The world's POVID, to be changed."""
    shutil.copytree(world / "povid", tmp_path / "own" / "povid")
    return tmp_path / "own"


def test_a_picture_that_is_put_there_later_is_used(own_world: Path, tmp_path: Path) -> None:
    def build() -> BuiltData:
        return build_dataset(
            own_world, tmp_path / "out", sampled_pairs=99, seed=0, sources={"povid": SOURCES["povid"]}
        )

    picture = Path(next(iter(build())).images[0])
    content = picture.read_bytes()
    picture.unlink()
    assert build().sources["povid"]["refused"] == {"picture not found": 1}
    picture.write_bytes(content)
    assert len(build()) == 40


def test_another_picture_of_the_same_name_and_size_makes_another_build(
    own_world: Path, tmp_path: Path
) -> None:
    """Pair 1 shows what pair 0 showed, and has its texts: then it is a duplicate."""
    rows = own_world / "povid" / next((own_world / "povid").glob("*.json")).name
    read = json.loads(rows.read_text())
    read[1] = {**read[0], "image": read[1]["image"]}
    rows.write_text(json.dumps(read))

    def duplicates() -> dict[str, int]:
        source = {"povid": SOURCES["povid"]}
        built = build_dataset(own_world, tmp_path / "out", sampled_pairs=99, seed=0, sources=source)
        return built.sources["povid"]["duplicates"]

    assert duplicates() == {}
    names = [Path(pair.images[0]) for pair in islice(SOURCES["povid"].read(own_world / "povid"), 2)]
    names[1].write_bytes(names[0].read_bytes())
    assert duplicates() == {"exact": 1}


def test_a_picture_that_the_model_cannot_be_shown_is_refused(own_world: Path, tmp_path: Path) -> None:
    """At the profile's pixels, not at any: the build of a larger budget keeps the pair."""
    picture = Path(next(SOURCES["povid"].read(own_world / "povid")).images[0])
    Image.new("RGB", (4000, 20)).save(picture)

    def build(budget: Budget | None) -> dict[str, int]:
        source = {"povid": SOURCES["povid"]}
        out = tmp_path / "out"
        return build_dataset(own_world, out, sampled_pairs=99, seed=0, sources=source, budget=budget).sources[
            "povid"
        ]["refused"]

    assert build(Budget(784, 7056)) == {"picture too narrow": 1}
    (line,) = read_jsonl(tmp_path / "out/quarantine/povid.jsonl")
    assert line["origin"].endswith("row 1") and "4000 x 20" in line["detail"]
    assert build(Budget(784, 501760)) == build(None) == {}


def test_other_code_makes_another_build(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[str] = []

    def build() -> bool:
        stages.clear()
        build_dataset(world, tmp_path / "out", sampled_pairs=9, seed=0, progress=stages.append)
        return bool(stages)

    assert [build(), build()] == [True, False]
    found = {
        file.name
        for pattern in build_module.CODE
        for file in Path(build_module.__file__).parent.glob(pattern)
    }
    assert {"build.py", "index.py", "povid.py", "rows.py", "pictures.py"} <= found
    code = tmp_path / "code.py"
    monkeypatch.setattr(build_module, "__file__", str(code))
    monkeypatch.setattr(build_module, "CODE", ("code.py",))
    code.write_text("one")
    assert [build(), build()] == [True, False]
    code.write_text("two")
    assert [build(), build()] == [True, False]


def test_a_moved_folder_is_not_built_again(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "povid", tmp_path / "old" / "world" / "povid")
    source = {"povid": SOURCES["povid"]}

    def build(place: Path) -> tuple[BuiltData, list[str]]:
        stages: list[str] = []
        options = {"sampled_pairs": 9, "seed": 0, "sources": source, "progress": stages.append}
        return build_dataset(place / "world", place / "out", **options), stages

    built, stages = build(tmp_path / "old")
    assert stages
    (tmp_path / "old").rename(tmp_path / "new")
    again, stages = build(tmp_path / "new")
    assert stages == [] and again.card == built.card
    assert all(Path(picture).is_file() for pair in again for picture in pair.images)


def test_a_card_that_is_no_json_is_written_again(world: Path, tmp_path: Path) -> None:
    card = dict(build_dataset(world, tmp_path, sampled_pairs=9, seed=0).card)
    (tmp_path / "data_card.json").write_text('{"key": ')
    assert build_dataset(world, tmp_path, sampled_pairs=9, seed=0).card == card


SHORT = """
import resource, sys
from pathlib import Path
from r1reward.data.build import build_dataset
from r1reward.data.sources import SOURCES
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20),) * 2)
try:
    source = {"povid": SOURCES["povid"]}
    build_dataset(Path(sys.argv[1]), Path(sys.argv[2]), sampled_pairs=99, seed=0, sources=source)
except MemoryError:
    raise SystemExit(7) from None
"""


def in_a_process(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory in use is read from /proc")
def test_no_memory_ends_a_build_and_refuses_no_row(own_world: Path, tmp_path: Path) -> None:
    """One picture takes more than the process may have; with more memory all rows are there."""
    picture = next(iter(SOURCES["povid"].read(own_world / "povid"))).images[0]
    Image.new("RGB", (3000, 3000), "red").save(picture, "PNG")
    done = in_a_process(SHORT, own_world, tmp_path / "out")
    assert done.returncode == 7, done.stderr[-2000:]
    sources = {"povid": SOURCES["povid"]}
    built = build_dataset(own_world, tmp_path / "out", sampled_pairs=99, seed=0, sources=sources)
    assert len(built) == 40 and not built.sources["povid"].get("refused")


@pytest.mark.parametrize("place", ["file of rows", "picture"])
def test_too_many_open_files_end_a_build_and_refuse_no_row(
    place: str, own_world: Path, tmp_path: Path
) -> None:
    def build() -> BuiltData:
        return build_dataset(
            own_world, tmp_path / "out", sampled_pairs=99, seed=0, sources={"povid": SOURCES["povid"]}
        )

    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    target = (Path, "read_bytes") if place == "file of rows" else (pictures_module, "sha256_file")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*target, fail)
        with pytest.raises(OSError, match="Too many open files"):
            build()
    assert len(build()) == 40


LIMITED = """
import resource, sys
from pathlib import Path
from kill_driver import run
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    run(Path(sys.argv[1]), Path(sys.argv[2]))
except (RuntimeError, OSError) as error:
    print(error)
    raise SystemExit(7) from None
"""


def test_a_build_goes_on_after_a_full_disk(world: Path, tmp_path: Path) -> None:
    """A limit on the size of files stops it in the index, then in what it writes; each error names a file."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(world, whole)
    said = []
    for limit in (20_000, (whole / "pairs.jsonl").stat().st_size // 2):
        done = in_a_process(LIMITED, world, out, limit)
        assert done.returncode == 7, done.stderr[-2000:]
        said.append(done.stdout)
    assert all(str(out) in line and line.count("\n") == 1 for line in said)
    assert not (out / "data_card.json").exists()
    run(world, out)
    assert (out / "pairs.jsonl").read_bytes() == (whole / "pairs.jsonl").read_bytes()
    assert not list(out.glob(".*.tmp")) and not (out / "read").exists()
