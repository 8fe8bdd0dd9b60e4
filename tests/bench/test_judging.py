import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from r1reward.bench.judging import generative_judge, run_benchmark
from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.benchmarks import GROUP_COUNTS, VL
from r1reward.engines import EngineError, NonFiniteError, Sampling
from r1reward.engines.inputs import build_messages
from r1reward.files import read_jsonl
from r1reward.scoring import PairRecord, read_records, score
from r1reward.types import Completion, PreferencePair, Request

SAMPLING = Sampling(16, 1.0, seed=3)


class Killed(Exception):
    pass


class RandomEngine:
    """Answers at random from the sampling seed and the place in the call, as a real one would."""

    def __init__(self, calls_before_kill: int | None = None) -> None:
        self.calls_left = calls_before_kill
        self.requests: list[Request] = []
        self.seeds: list[int] = []

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Any,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        if self.calls_left is not None:
            if self.calls_left == 0:
                raise Killed
            self.calls_left -= 1
        self.requests += requests
        self.seeds.append(sampling.seed)
        rng = np.random.default_rng(sampling.seed)
        outputs = []
        for number, _ in enumerate(requests, start=1):
            answer = rng.choice(["1", "2", "maybe"])
            length = int(rng.integers(1, 9))
            text = f"<think>{rng.integers(10**9)}</think><answer>{answer}</answer>"
            outputs.append((Completion(text, (0,) * length, (0.0,) * length, "stop"),))
            if progress:
                progress(number, len(requests))
        return outputs


class OracleEngine(RandomEngine):
    """Prefers the response that contains the word right; says nothing about a question with ?!."""

    def generate(self, requests: Sequence[Request], sampling: Any, *, progress: Any = None) -> Any:
        self.requests += requests
        outputs = []
        for request in requests:
            position = 1 if request.text.index("right") < request.text.index("wrong") else 2
            answer = "" if "?!" in request.text else f"<think>t</think><answer>{position}</answer>"
            outputs.append((Completion(answer, (5,), (0.0,), "stop"),))
        return outputs


def _pairs(folder: Path, count: int) -> list[PreferencePair]:
    pairs = []
    for row in range(count):
        picture = folder / f"{row}.png"
        Image.new("RGB", (28 + row % 2, 40), (row, 0, 0)).save(picture)
        responses = ("this is right", "this is wrong")
        pair = PreferencePair(
            "same id",
            "bench",
            f"question {row} {'?!' if row == 4 else ''}",
            responses,
            1,
            images=(str(picture),),
            category="general" if row % 2 else "reasoning",
            meta={"row": row + 100, "id": "same id"},
        )
        pairs.append(pair.swapped() if row % 3 == 0 else pair)
    return pairs


def _run(engine: Any, pairs: Sequence[PreferencePair], folder: Path, **changes: Any) -> list[PairRecord]:
    """The judge of four pairs a chunk; `changes` are of the judge or of the run."""
    asked: dict[str, Any] = {"sampling": SAMPLING, "prompt": "mini", "chunk_pairs": 4}
    asked |= {name: changes.pop(name) for name in (*asked, "model") if name in changes}
    places = {"work": folder / "work", "record": folder / "records" / "greedy.jsonl"}
    return run_benchmark(generative_judge(engine, **asked), pairs, **places | changes)


def test_both_orders_are_judged_and_recorded(tmp_path: Path) -> None:
    pairs, seen = _pairs(tmp_path, 6), []
    records = _run(OracleEngine(), pairs, tmp_path, progress=lambda *counts: seen.append(counts))
    assert read_records(tmp_path / "records" / "greedy.jsonl") == records
    assert [record.row for record in records] == [100, 101, 102, 103, 104, 105]
    assert [record.verdicts for record in records] == ["21", "12", "12", "21", "uu", "12"]
    assert [record.preferred for record in records] == [2, 1, 1, 2, 1, 1]
    assert score(records).accuracy == 10 / 12 and {record.pictures for record in records} == {""}
    assert seen == [(8, 12), (12, 12)]
    texts = read_jsonl(tmp_path / "work" / "texts.jsonl")
    assert len(texts) == 12 and {line["order"] for line in texts} == {"given", "swapped"}


def test_every_chunk_and_every_seed_draws_with_a_seed_of_its_own(tmp_path: Path) -> None:
    seeds = []
    for seed in (0, 1):
        engine = RandomEngine()
        _run(engine, _pairs(tmp_path, 10), tmp_path / str(seed), sampling=Sampling(16, 1.0, seed=seed))
        seeds += engine.seeds
    assert len(seeds) == 6 and len(set(seeds)) == 6


@pytest.mark.parametrize("chunks_before_kill", [0, 1, 2])
def test_a_killed_run_ends_like_an_uninterrupted_one(chunks_before_kill: int, tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, 10)
    whole = _run(RandomEngine(), pairs, tmp_path / "whole")
    with pytest.raises(Killed):
        _run(RandomEngine(chunks_before_kill), pairs, tmp_path / "cut")
    assert not (tmp_path / "cut" / "records").exists()
    engine = RandomEngine()
    assert _run(engine, pairs, tmp_path / "cut") == whole
    assert len(engine.requests) == 20 - 8 * chunks_before_kill
    for name in ("work/texts.jsonl", "records/greedy.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_torn_chunk_is_judged_again_as_a_whole(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, 10)
    whole = _run(RandomEngine(), pairs, tmp_path)
    texts = tmp_path / "work" / "texts.jsonl"
    lines = texts.read_bytes().splitlines(keepends=True)
    texts.write_bytes(b"".join(lines[:11]) + lines[11][:30])
    (tmp_path / "records" / "greedy.jsonl").unlink()
    engine = RandomEngine()
    assert _run(engine, pairs, tmp_path) == whole
    assert len(engine.requests) == 12
    assert _run(RandomEngine(calls_before_kill=0), pairs, tmp_path) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other weights"},
        {"prompt": "paper"},
        {"sampling": replace(SAMPLING, seed=SAMPLING.seed + 1)},
        {"sampling": replace(SAMPLING, temperature=0.25)},
        {"sampling": replace(SAMPLING, max_new_tokens=17)},
        {"blank": True},
    ],
)
def test_texts_of_another_run_are_never_reused(
    change: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = _pairs(tmp_path, 4)
    _run(RandomEngine(), pairs, tmp_path)
    engine = RandomEngine()
    with caplog.at_level(logging.WARNING):
        _run(engine, pairs, tmp_path, **change)
    assert len(engine.requests) == 8 and "judging again" in caplog.text
    assert len(read_jsonl(tmp_path / "work" / "texts.jsonl")) == 8


def test_other_pairs_are_never_answered_from_old_texts(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path, 4)
    _run(RandomEngine(), pairs, tmp_path)
    engine = RandomEngine()
    _run(engine, [pairs[0].swapped(), *pairs[1:]], tmp_path)
    assert len(engine.requests) == 8


@pytest.mark.parametrize("kind", ["images", "frames"])
def test_a_picture_that_changed_is_looked_at_again(kind: str, tmp_path: Path) -> None:
    pairs = [replace(pair, **{"images": (), kind: pair.images}) for pair in _pairs(tmp_path, 4)]
    _run(RandomEngine(), pairs, tmp_path)
    Image.new("RGB", (28, 40), (9, 9, 9)).save(tmp_path / "2.png")
    engine = RandomEngine()
    _run(engine, pairs, tmp_path)
    assert len(engine.requests) == 8


def test_blank_pictures_have_the_same_size_and_no_content(tmp_path: Path) -> None:
    engine = OracleEngine()
    records = _run(engine, _pairs(tmp_path, 5), tmp_path, blank=True)
    shown = sorted({request.images[0] for request in engine.requests})
    assert len(shown) == 2
    for path in shown:
        with Image.open(path) as picture:
            assert picture.size in {(28, 40), (29, 40)} and picture.getcolors() == [
                (28 * 40 if picture.width == 28 else 29 * 40, (128, 128, 128))
            ]
    assert {record.pictures for record in records} == {"blank"}


def test_two_pairs_of_one_row_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same row"):
        _run(OracleEngine(), _pairs(tmp_path, 1) * 2, tmp_path)


def test_real_texts_with_stand_in_photographs(real_data: Path, tmp_path: Path) -> None:
    photographs = sorted((real_data / "images").glob("*.jpg"))
    path = real_data / "r1_reward" / "vl_reward_bench_data.jsonl"
    pairs = load_benchmark(path, stand_in_pictures=photographs)
    records = _run(RandomEngine(), pairs, tmp_path, prompt="paper", chunk_pairs=256)
    assert len(records) == 1250 and {record.pictures for record in records} == {"stand-in pictures"}
    assert Counter(record.group for record in records) == GROUP_COUNTS[VL]


class ReadingEngine(OracleEngine):
    """Opens every picture as the engines do; with `collapsed` its numbers are not finite."""

    collapsed = False

    def generate(self, requests: Sequence[Request], sampling: Any, *, progress: Any = None) -> Any:
        if self.collapsed:
            raise NonFiniteError("not finite")
        for request in requests:
            build_messages(request, budget=None)
        return super().generate(requests, sampling, progress=progress)


def test_a_row_that_cannot_be_asked_costs_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pairs, record = _pairs(tmp_path, 12), tmp_path / "record.jsonl"
    Path(pairs[5].images[0]).rename(tmp_path / "away.png")
    run = partial(_run, pairs=pairs, folder=tmp_path, work=tmp_path / "w", record=record)
    blank = run(ReadingEngine(), work=tmp_path / "blank", blank=True)
    assert [found.row for found in blank if found.verdicts == "uu"] == [104, 105]
    run(ReadingEngine())
    silent = [(found.row, found.not_asked) for found in read_records(record) if found.verdicts == "uu"]
    assert silent == [(104, 0), (105, 2)], "no verdict is not the same as no question"
    assert "2 of 24 judgments could not be asked" in caplog.text and "5.png" in caplog.text
    (tmp_path / "away.png").rename(pairs[5].images[0])
    again = ReadingEngine()
    assert [found.row for found in run(again) if found.verdicts == "uu"] == [104]
    assert len(again.requests) == 8, "only its chunk"
    for pair in pairs:
        Path(pair.images[0]).unlink()
    with pytest.raises(EngineError, match=r"nothing could be asked, for one: picture .*0\.png"):
        run(ReadingEngine(), work=tmp_path / "other")
    broken = ReadingEngine()
    broken.collapsed = True
    with pytest.raises(NonFiniteError):
        run(broken, work=tmp_path / "third")


class PlacedEngine:
    """Opens every picture, and draws each answer from the seed and the place of its request."""

    def generate(self, requests: Sequence[Request], sampling: Any, *, progress: Any = None) -> Any:
        outputs = []
        for index, request in enumerate(requests):
            build_messages(request, budget=None)
            rng = np.random.default_rng([sampling.seed, request.place_or(index)])
            text = f"<think>{rng.integers(10**9)}</think><answer>{rng.integers(1, 3)}</answer>"
            outputs.append((Completion(text, (5,), (0.0,), "stop"),))
        return outputs


@pytest.mark.parametrize("missing", [0, 5, 7])
def test_a_row_that_cannot_be_asked_changes_no_other_answer(missing: int, tmp_path: Path) -> None:
    pairs, texts = _pairs(tmp_path, 10), {}
    for folder in ("whole", "broken"):
        if folder == "broken":
            Path(pairs[missing].images[0]).unlink()
        _run(PlacedEngine(), pairs, tmp_path / folder)
        lines = read_jsonl(tmp_path / folder / "work" / "texts.jsonl")
        texts[folder] = {(line["row"], line["order"]): line["text"] for line in lines}
    unasked = {key: "" for key in texts["whole"] if key[0] == 100 + missing}
    assert len(set(texts["whole"].values())) == 20 and len(unasked) == 2
    assert texts["broken"] == texts["whole"] | unasked
