"""Answers are read as the official scorers read them: what those made of the same texts is in a file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.downstream.readers import read_first_letter, read_option, read_yes_or_no
from r1reward.files import read_json

OFFICIAL = read_json(Path(__file__).parent / "official_answers.json")
# The scorers' words for an answer that counts as wrong whatever the reference is.
NOTHING = {"Z": "", "Unknown": ""}


def test_options_are_read_as_vlmevalkit_reads_them() -> None:
    said = [read_option(text, OFFICIAL["options"][options]) for text, options, _ in OFFICIAL["option"]]
    assert said == [NOTHING.get(value, value) for *_, value in OFFICIAL["option"]]


def test_letters_are_read_as_mme_realworld_reads_them() -> None:
    said = [read_first_letter(text, {}) for text, _ in OFFICIAL["letter"]]
    assert said == [value for _, value in OFFICIAL["letter"]]


def test_yes_and_no_are_read_as_vlmevalkit_reads_them() -> None:
    said = [read_yes_or_no(text) for text, _ in OFFICIAL["yes_or_no"]]
    assert said == [NOTHING.get(value, value) for _, value in OFFICIAL["yes_or_no"]]


FRUIT = {"A": "apple", "B": "pear", "C": "plum"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The correct answer is **B**. The car in the middle is blue and it turns left here.", "B"),
        ("The answer is B, because the pear lies in the bowl on the table.", "B"),
        ("Z red", ""),
        ("Cannot determine the answer A", ""),
        ("Cannot determine the answer, it may be an apple", ""),
        ("an apple", "A"),
        ("apple or pear", ""),
    ],
)
def test_sentences_and_refusals(text: str, letter: str) -> None:
    assert read_option(text, FRUIT) == letter


@given(st.text(), st.dictionaries(st.sampled_from("ABCDE"), st.text(min_size=1), min_size=1))
def test_no_text_breaks_a_reader(text: str, options: dict[str, str]) -> None:
    for style in ("mini", "vlmevalkit"):
        assert read_option(text, options, style=style) in {"", *options}
        assert read_first_letter(text, options, style=style) in {"", *"ABCDE"}
    assert read_yes_or_no(text) in {"", "Yes", "No"}
