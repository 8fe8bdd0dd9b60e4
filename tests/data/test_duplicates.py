from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from r1reward.data.build import BuiltData, build_dataset
from r1reward.data.sources import SOURCES, Source
from r1reward.files import read_jsonl
from r1reward.types import PreferencePair


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[str, str, str]:
    """Two files with the same bytes and one with others."""
    for name, data in {"one": b"1", "copy": b"1", "other": b"2"}.items():
        (tmp_path / name).write_bytes(data)
    return str(tmp_path / "one"), str(tmp_path / "copy"), str(tmp_path / "other")


def build(pairs: list[PreferencePair], folder: Path) -> BuiltData:
    """A build of given pairs, as if they were POVID."""

    def read(*_: object, **__: object) -> Iterator[PreferencePair]:
        yield from (replace(pair, pair_id=f"p-{index}") for index, pair in enumerate(pairs))

    sources = {"povid": Source(SOURCES["povid"].spec, read)}  # type: ignore[arg-type]
    return build_dataset(folder, folder / "out", sampled_pairs=10**6, seed=0, sources=sources)


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


def test_a_duplicate_may_stand_in_another_source(tmp_path: Path, pictures) -> None:
    """The source that is taken whole is read first, so its pair stays."""

    def reader(name: str):
        return lambda *_, **__: iter([replace(pair(pictures[0]), pair_id=name, source=name)])

    sources = {
        name: Source(SOURCES[name].spec, reader(name))  # type: ignore[arg-type]
        for name in ("povid", "mm_rlhf_long")
    }
    for source in sources.values():
        (tmp_path / source.spec.folder).mkdir(exist_ok=True)
    built = build_dataset(tmp_path, tmp_path / "out", sampled_pairs=9, seed=0, sources=sources)
    assert [one.pair_id for one in built] == ["mm_rlhf_long"]
    assert built.sources["povid"]["duplicates"] == {"exact": 1}
