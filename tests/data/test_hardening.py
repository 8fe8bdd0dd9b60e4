"""Cold-start examples with texts that speak to the judge."""

from pathlib import Path

import pytest

from r1reward.bench import steering
from r1reward.data.cold_start import SFTExample, read_sft, write_sft
from r1reward.data.hardening import TEXTS, harden, write_hardened
from r1reward.types import PreferencePair

EXAMPLES = [
    SFTExample(
        PreferencePair(f"p{n}", "s", f"q{n}", ("good .", "bad ."), 1 + n % 2, ("p.png",)), f"answer {n}"
    )
    for n in range(400)
]


def added(example: SFTExample, plain: SFTExample) -> list[str]:
    """What stands behind each response that was not there."""
    both = list(zip(example.pair.responses, plain.pair.responses, strict=True))
    assert all(new.startswith(old) for new, old in both)
    return [new[len(old) :] for new, old in both]


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_share_of_the_examples_gets_one_text_that_names_its_own_place(share: float) -> None:
    hardened = harden(EXAMPLES, share=share, seed=3)
    texts = [added(*both) for both in zip(hardened, EXAMPLES, strict=True)]
    changed = [(index, text.index(max(text)), max(text)) for index, text in enumerate(texts) if any(text)]
    assert len(changed) == share * len(EXAMPLES)
    assert all(min(texts[index]) == "" for index, _, _ in changed)
    known = [{text.format(position=place + 1) for text in TEXTS} for place in range(2)]
    assert all(text in known[place] for _, place, text in changed)
    assert {text for _, _, text in changed} == known[0] | known[1]


def test_a_text_says_nothing_about_the_label() -> None:
    hardened = harden(EXAMPLES, share=1.0, seed=0)
    places = [added(*both)[0] != "" for both in zip(hardened, EXAMPLES, strict=True)]
    at_the_better = sum(
        (place == 0) == (e.pair.preferred == 1) for place, e in zip(places, EXAMPLES, strict=True)
    )
    assert 160 < at_the_better < 240


def test_nothing_else_changes_and_the_seed_decides(tmp_path: Path) -> None:
    source = write_sft(tmp_path / "sft.jsonl", EXAMPLES)
    one, same, other = (
        write_hardened(source, tmp_path / f"{name}.jsonl", seed=seed)
        for name, seed in (("one", 1), ("same", 1), ("other", 2))
    )
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()
    for new, old in zip(read_sft(one), read_sft(source), strict=True):
        assert (new.completion, new.pair.pair_id, new.pair.preferred) == (
            old.completion,
            old.pair.pair_id,
            old.pair.preferred,
        )
        assert (new.pair.question, new.pair.images) == (old.pair.question, old.pair.images)


def test_no_text_of_the_test_is_learnt() -> None:
    learnt = {text.strip() for text in TEXTS}
    tested = {steering.text_of(name).strip() for name in steering.TEXTS} - {""}
    assert not any(one in other or other in one for one in learnt for other in tested)
