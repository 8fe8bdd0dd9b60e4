from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from r1reward.data.index import COLUMNS, digest, draw_pairs, fingerprint, index_row, normalise
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


def test_which_pairs_are_drawn_and_on_which_side_they_stand_follows_from_the_seed() -> None:
    """Of a source taken whole and of another; in each every second pair is swapped, an odd one by a coin."""
    pairs = [replace(PAIR, pair_id=f"{source} {n}", source=source) for source in "ab" for n in range(15)]
    found = []
    for seed in range(12):
        rows = [index_row(pair, fingerprint(pair), seed=seed, offset=n) for n, pair in enumerate(pairs)]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        drawn = draw_pairs(frame, whole=["a"], count=7, seed=seed)
        sources = drawn["source"].tolist()
        swapped = [int(drawn.loc[drawn["source"] == name, "swapped"].sum()) for name in "ab"]
        assert (sources.count("a"), sources.count("b")) == (15, 7)
        assert all(count in (each // 2, each // 2 + 1) for count, each in zip(swapped, (15, 7), strict=True))
        found.append((drawn["pair_id"].tolist(), swapped))
    assert len({tuple(sorted(ids)) for ids, _ in found}) > 9, "the sample"
    assert len({tuple(ids) for ids, _ in found}) == 12, "the order"
    assert len({tuple(odd) for _, odd in found}) > 1, "the coin"
