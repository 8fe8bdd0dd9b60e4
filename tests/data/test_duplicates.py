from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r1reward.data.build import BuiltData, build_dataset
from r1reward.data.sources import SOURCES, Source
from r1reward.files import read_jsonl
from r1reward.types import PreferencePair


def words(seed: int, count: int = 120) -> list[str]:
    return [f"w{word}" for word in np.random.default_rng(seed).integers(0, 10**9, count)]


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[str, str, str]:
    """Two files with the same bytes and one with others."""
    for name, data in {"one": b"1", "copy": b"1", "other": b"2"}.items():
        (tmp_path / name).write_bytes(data)
    return str(tmp_path / "one"), str(tmp_path / "copy"), str(tmp_path / "other")


def build(pairs: list[PreferencePair], folder: Path, **settings: Any) -> BuiltData:
    """A build of given pairs, as if they were POVID."""

    def read(*_: object, **__: object) -> Iterator[PreferencePair]:
        yield from (replace(pair, pair_id=f"p-{index}") for index, pair in enumerate(pairs))

    sources = {"povid": Source(SOURCES["povid"].spec, read)}  # type: ignore[arg-type]
    return build_dataset(folder, folder / "out", sampled_pairs=10**6, seed=0, sources=sources, **settings)


def left(pairs: list[PreferencePair], folder: Path, **settings: Any) -> set[str]:
    return {pair.pair_id for pair in build(pairs, folder, **settings)}


def changed(text: list[str], *places: int) -> str:
    return " ".join("other" if place in places else word for place, word in enumerate(text))


def pair(picture: str, question: str = "q", chosen: str = "a", rejected: str = "b") -> PreferencePair:
    return PreferencePair("", "povid", question, (chosen, rejected), 1, (picture,))


def test_equal_pairs_about_equal_pictures_are_there_once(tmp_path: Path, pictures) -> None:
    one, copy, other = pictures
    pairs = [pair(one), pair(copy, "Q "), pair(other), pair(one, "r"), pair(one, chosen="c"), pair(one)]
    built = build(pairs, tmp_path)
    assert {pair.pair_id for pair in built} == {"p-0", "p-2", "p-3", "p-4"}
    assert built.sources["povid"]["duplicates"] == {"exact": 2} and built.sources["povid"]["usable"] == 4
    assert read_jsonl(tmp_path / "out" / "duplicates.jsonl") == [
        {"pair_id": name, "kind": "exact", "original": "p-0"} for name in ("p-1", "p-5")
    ]


def test_of_two_pairs_that_contradict_each_other_the_first_stays(tmp_path: Path, pictures) -> None:
    built = build([pair(pictures[0]), pair(pictures[0], chosen="b", rejected="a")], tmp_path)
    assert [pair.pair_id for pair in built] == ["p-0"]
    assert built.sources["povid"]["duplicates"] == {"reversed": 1}


def test_nearly_equal_texts_about_one_picture_are_there_once(tmp_path: Path, pictures) -> None:
    one, copy, other = pictures
    text = words(0)
    original = pair(one, "q", " ".join(text), " ".join(words(1)))
    near = [replace(original, images=(copy,), responses=(changed(text, 60), original.responses[1]))]
    far = [
        replace(near[0], images=(other,)),  # another picture
        replace(original, question="r"),  # another question, however long the responses are
        replace(original, responses=(original.responses[0], "no")),
        replace(original, responses=(changed(text, 20, 40, 60, 80, 100), original.responses[1])),
        replace(original, responses=(original.responses[1], changed(text, 61))),  # the other one chosen
    ]
    built = build([original, *near, *far], tmp_path)
    assert {pair.pair_id for pair in built} == {"p-0", *(f"p-{index}" for index in range(2, 7))}
    assert built.sources["povid"]["duplicates"] == {"near": 1}


def test_the_threshold_is_kept_exactly(tmp_path: Path, pictures) -> None:
    text = words(0, 62)  # 60 triples; one word inside changes three: 57 of 63 are shared
    pairs = [pair(pictures[0], chosen=" ".join(text)), pair(pictures[0], chosen=changed(text, 30))]
    assert left(pairs, tmp_path, near_duplicate=57 / 63) == {"p-0"}
    assert left(pairs, tmp_path, near_duplicate=57 / 63 + 1e-9) == {"p-0", "p-1"}


def test_short_answers_are_never_near(tmp_path: Path, pictures) -> None:
    answers = ["3", "4", "there are 3 rings .", "there are 4 rings ."]
    assert len(left([pair(pictures[0], chosen=text) for text in answers], tmp_path)) == 4


def test_work_grows_with_the_pairs_however_alike_they_are(
    tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs about one picture that share most of their text, without two of them being near."""
    compared = 0

    def count(*_: object) -> float:
        nonlocal compared
        compared += 1
        return 0.0

    monkeypatch.setattr("r1reward.data.duplicates.jaccard", count)
    text = words(0, 200)
    pairs = [pair(pictures[0], chosen=" ".join([*text, str(index)])) for index in range(150)]
    assert len(left(pairs, tmp_path)) == 150
    assert 150 < compared <= 16 * 150
