from dataclasses import replace
from pathlib import Path

import pytest

from r1reward.data.index import digest, fingerprint, normalise
from r1reward.types import PreferencePair

PAIR = PreferencePair("p", "s", "What is it ?", ("A dog.", "A cat."), 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("A  DOG.\n", "a dog.", True),
        ("\N{LATIN SMALL LIGATURE FI}ne \N{FULLWIDTH DIGIT TWO}", "fine 2", True),
        ("-5", "5", False),
        ("a dog", "a dog.", False),
        ("STRASSE", "straße", True),
    ],
)
def test_what_counts_in_comparisons(one: str, other: str, same: bool) -> None:
    assert (normalise(one) == normalise(other)) is same
    pairs = [replace(PAIR, question=text) for text in (one, other)]
    assert (fingerprint(pairs[0]).texts == fingerprint(pairs[1]).texts) is same


def test_the_order_of_responses_shows_only_in_flipped() -> None:
    first, second = replace(PAIR, responses=("x", "y")), replace(PAIR, responses=("y", "x"))
    assert fingerprint(first).texts == fingerprint(second).texts
    assert fingerprint(first).flipped is not fingerprint(second).flipped
    # The same pair shown in the other order prefers the same response.
    assert fingerprint(first) == fingerprint(first.swapped())


def test_pictures_count_by_their_bytes(tmp_path: Path) -> None:
    for name, data in {"a": b"1", "b": b"1", "c": b"2"}.items():
        (tmp_path / name).write_bytes(data)
    a, b, c = (fingerprint(replace(PAIR, images=(str(tmp_path / name),))).picture for name in "abc")
    both = fingerprint(replace(PAIR, images=(str(tmp_path / "a"), str(tmp_path / "c")))).picture
    turned = fingerprint(replace(PAIR, images=(str(tmp_path / "c"), str(tmp_path / "a")))).picture
    assert a == b and len({a, c, both, turned}) == 4
    with pytest.raises(OSError):
        fingerprint(replace(PAIR, images=(str(tmp_path / "gone"),)))


def test_parts_of_a_digest_do_not_run_together() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", "")}) == 4
