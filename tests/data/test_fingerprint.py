import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.data.fingerprint import bands, digest, fingerprint, jaccard, normalise, shingles
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


words = st.lists(st.sampled_from(["a", "b", "c", "d", "!", "Größe"]), max_size=12)


@given(words, words)
def test_jaccard_is_that_of_the_word_triples(one: list[str], other: list[str]) -> None:
    def triples(values: list[str]) -> set[tuple[str, ...]]:
        padded = values + [""] * (3 - len(values))
        return {tuple(padded[i : i + 3]) for i in range(len(padded) - 2)}

    a, b = triples(one), triples(other)
    assert jaccard(shingles(" ".join(one)), shingles(" ".join(other))) == len(a & b) / len(a | b)


def _near(rng: np.random.Generator, length: int, changes: int) -> tuple[str, str]:
    """A text and a copy in which words far apart are replaced."""
    text = [f"w{word}" for word in rng.integers(0, 10**9, length)]
    copy = list(text)
    for place in np.linspace(10, length - 10, changes).astype(int):
        copy[place] = "other"
    return " ".join(text), " ".join(copy)


def _share_a_band(one: str, other: str, picture: bytes = b"x" * 8, other_picture: bytes = b"x" * 8) -> bool:
    question = shingles("What is it ?")
    keys = [
        set(bands((question, question, shingles(text)), where))
        for text, where in ((one, picture), (other, other_picture))
    ]
    return bool(keys[0] & keys[1])


def test_near_texts_share_a_band_and_far_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    # 5 of 300 words changed: 15 of 313 triples are others on each side, a similarity of 0.905.
    near = [_near(rng, 300, 5) for _ in range(150)]
    assert all(jaccard(shingles(a), shingles(b)) > 0.9 for a, b in near)
    assert sum(_share_a_band(*texts) for texts in near) >= 147
    assert sum(_share_a_band(near[i][0], near[i + 1][0]) for i in range(149)) <= 2
    assert not any(_share_a_band(*texts, other_picture=b"y" * 8) for texts in near)


def test_bands_never_change() -> None:
    """Which near-duplicates are found follows from the data alone, on any machine."""
    keys = bands((shingles("a b c"), shingles("d e f g"), shingles("h")), bytes(range(16)))
    assert len(set(keys)) == 10 and all(-(2**63) <= key < 2**63 for key in keys)
    assert keys[0] == -7859301095319909085
    swapped = bands((shingles("a b c"), shingles("h"), shingles("d e f g")), bytes(range(16)))
    assert not set(keys) & set(swapped)


def test_shingles_of_short_texts_are_the_whole_text() -> None:
    texts = ["", "a", "b", "a a", "a b", "a b c"]
    assert all(len(shingles(text)) == 1 for text in texts)
    assert all(jaccard(shingles(a), shingles(b)) == 0 for a, b in itertools.combinations(texts, 2))
