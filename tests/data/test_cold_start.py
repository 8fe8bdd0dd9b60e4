from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.bench import steering
from r1reward.data.annotate import Annotation, annotate_pairs
from r1reward.data.annotators import make_annotator
from r1reward.data.build import BuiltData, build_dataset
from r1reward.data.cold_start import (
    TEXTS,
    add_to_card,
    data_record,
    harden,
    require_examples,
    select_easy,
    select_rl,
    select_sft,
    split_critiques,
    write_hardened,
)
from r1reward.data.exports import export_items
from r1reward.data.sources import ALL_SOURCES, SOURCES
from r1reward.data.storage import SFTExample, read_sft, target_of, usable_targets, write_pairs
from r1reward.files import read_json
from r1reward.mini.annotator import ScriptedAnnotator
from r1reward.mini.tasks import TASKS, write_reasoning
from r1reward.parsing import extract_reasoning, follows_format, parse_verdict
from r1reward.settings import DataSettings, ScriptSettings
from r1reward.types import PreferencePair


def _answer(position: int) -> str:
    return f"<think>t</think><answer>{position}</answer>"


PAIRS = tuple(PreferencePair(f"p-{i}", "p", "q", ("a", "b"), 1, meta={"image": "x.png"}) for i in range(4))
CARD_OF_NOTHING = {
    "pairs": 0, "positions": {"1": 0, "2": 0}, "seed": 0, "sha256": "",
    "overlap": "report", "pool": {"sampled": 0, "usable": 0}, "benchmark": {"pairs": 0, "shared_sources": {}},
}  # fmt: skip
ANNOTATIONS = (
    Annotation("p-0", (_answer(1),), reached=True),
    Annotation("p-1", (_answer(2), _answer(1)), reached=True),
    Annotation("p-2", (_answer(2),) * 3, reached=False),
    Annotation("p-3", (_answer(2), "no answer", _answer(1)), reached=True),
)


def test_sft_takes_only_answers_that_reached_the_label() -> None:
    examples = list(select_sft(PAIRS, ANNOTATIONS))
    assert [example.pair.pair_id for example in examples] == ["p-0", "p-1", "p-3"]
    assert {example.completion for example in examples} == {_answer(1)}


def test_rl_takes_two_attempts_and_more_and_failures() -> None:
    subset = list(select_rl(PAIRS, ANNOTATIONS))
    assert [pair.pair_id for pair in subset] == ["p-1", "p-2", "p-3"]
    assert subset[1].meta == {"image": "x.png", "attempts": 3, "reached": False}


def test_easy_pairs_were_right_at_once() -> None:
    pairs = [PreferencePair(f"p-{i}", "p", "q", ("a", "b"), 1) for i in range(8)]
    annotations = [
        Annotation(pair.pair_id, (_answer(2),) * (i % 2) + (_answer(1),), reached=i != 6)
        for i, pair in enumerate(pairs)
    ]
    drawn = [
        [pair.pair_id for pair in select_easy(pairs, annotations, count=count, seed=0)] for count in (2, 9)
    ]
    assert drawn[1] == ["p-0", "p-2", "p-4"]
    assert len(drawn[0]) == 2 and set(drawn[0]) < set(drawn[1])
    many = [replace(PAIRS[0], pair_id=f"p-{i}") for i in range(40)]
    at_once = [Annotation(pair.pair_id, (_answer(1),), reached=True) for pair in many]
    first, same, other = (select_easy(many, at_once, count=10, seed=seed) for seed in (0, 0, 1))
    assert first == same != other, "the seed draws them"


def test_a_single_failed_attempt_is_rl_data_too() -> None:
    failed = Annotation("p-0", (_answer(2),), reached=False)
    assert [pair.pair_id for pair in select_rl(PAIRS[:1], [failed])] == ["p-0"]


@pytest.mark.parametrize("select", [select_sft, select_rl])
def test_annotations_of_other_pairs_are_refused(select: Callable[..., Iterable[object]]) -> None:
    with pytest.raises(ValueError, match="p-0 stands beside the annotation of p-1"):
        list(select(PAIRS, ANNOTATIONS[1:] + ANNOTATIONS[:1]))


def test_examples_survive_the_file(tmp_path: Path) -> None:
    examples = list(select_sft(PAIRS, ANNOTATIONS))
    assert read_sft(write_pairs(tmp_path / "sft.jsonl", examples)) == examples
    (tmp_path / "sft.jsonl").write_text('{"pair_id": "p"}\n')
    with pytest.raises(ValueError, match=r"sft\.jsonl, row 1"):
        read_sft(tmp_path / "sft.jsonl")


def test_the_record_counts_everything(tmp_path: Path) -> None:
    counts = {"read": 5, "sampled": 4, "dropped": {"tie": 1}}
    card = {"sources": {"p": counts}, "positions": {"1": 4, "2": 0}, "seed": 7}
    built = BuiltData(write_pairs(tmp_path / "pairs.jsonl", PAIRS), card)
    record = data_record(built, ANNOTATIONS, annotator="scripted", max_attempts=3)
    assert record == {
        "sources": {"p": {"original": 5, **counts, "attempts": {"1": 1, "2": 1, "3": 1, "failed": 1}}},
        "positions": {"1": 4, "2": 0},
        "attempts": {"1": 1, "2": 1, "3": 1, "failed": 1},
        "targets": {"as written": 3, "normalised": 0, "refused": 0},
        "unanswered": 0,
        "sft_examples": 3,
        "rl_examples": 3,
        "annotator": "scripted",
        "seed": 7,
    }


REASONED = "<think>the second , because <b> .\n\nyes</think>"
ANSWERS = {
    f"{REASONED}<answer>2</answer>": f"{REASONED}<answer>2</answer>",
    f"{REASONED}\n\n<answer>2</answer>": f"{REASONED}<answer>2</answer>",
    "\n<think>\nthis one .\n</think> <answer> 2 </answer>\n": "<think>this one .</think><answer>2</answer>",
    "<answer>2</answer>": None,
    "<think></think><answer>2</answer>": None,
    "<think> \n</think>\n<answer>2</answer>": None,
    f"Sure! {REASONED}<answer>2</answer>": None,
    f"{REASONED}<answer>2</answer> So it is 2 .": None,
    f"{REASONED}<answer>2</answer>\n<answer>2</answer>": None,
    f"{REASONED}<answer>Response 2</answer>": None,
    "<think>the <answer>2</answer> of</think>\n<answer>2</answer>": None,
    "the second .</think><answer>2</answer>": None,
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_target_is_reasoned_and_accepted_by_the_format_reward(answer: str) -> None:
    target = target_of(answer)
    assert target == ANSWERS[answer]
    assert target is None or (follows_format(target) and extract_reasoning(target))


def test_answers_that_are_no_targets_are_left_out_and_counted_in_the_card(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From the annotations and from a file alike."""
    pairs = [PreferencePair(f"p-{i}", "p", "q", ("a", "b"), 2) for i in range(len(ANSWERS))]
    annotations = [
        Annotation(pair.pair_id, (answer,), reached=True) for pair, answer in zip(pairs, ANSWERS, strict=True)
    ]
    wanted = [target for target in ANSWERS.values() if target]
    assert [example.completion for example in select_sft(pairs, annotations)] == wanted
    card = {**CARD_OF_NOTHING, "sources": {"p": {"read": 12}}}
    built = BuiltData(write_pairs(tmp_path / "pairs.jsonl", pairs), card)
    record = data_record(built, annotations, annotator="scripted", max_attempts=3)
    assert record["targets"] == {"as written": 1, "normalised": 2, "refused": 9}
    assert record["sft_examples"] == 3
    add_to_card(BuiltData(built.path, {**card, "sources": {}}), record["targets"])
    assert read_json(tmp_path / "data_card.json")["targets"] == record["targets"]
    assert "1 as written, 2 normalised, 9 refused" in (tmp_path / "data_card.md").read_text()

    raw = [SFTExample(pair, answer) for pair, answer in zip(pairs, ANSWERS, strict=True)]
    file = write_pairs(tmp_path / "sft.jsonl", raw)
    assert [example.completion for example in usable_targets(file).kept] == wanted
    assert f"9 of 12 rows are faulty and left out, the first: {file}, row 4: the answer is no" in caplog.text
    write_pairs(file, raw[3:4])
    with pytest.raises(
        ValueError, match=r"all 1 rows are faulty.*sft\.jsonl, row 1: the answer is no target"
    ):
        usable_targets(file)


def test_world_to_training_sets(world: Path, tmp_path: Path) -> None:
    built = build_dataset(world, tmp_path, sampled_pairs=90, seed=0)
    annotator = ScriptedAnnotator(world / "truth.jsonl", ScriptSettings(misreading=0.3, slips=0.2), 0)
    annotations = annotate_pairs(annotator, built, path=tmp_path / "a.jsonl", max_attempts=3)
    examples, subset = list(select_sft(built, annotations)), list(select_rl(built, annotations))
    assert all(parse_verdict(e.completion).agrees_with(e.pair.preferred) for e in examples)
    first = sum(a.reached and a.attempts == 1 for a in annotations)
    assert 0 < len(subset) == len(built) - first
    record = data_record(built, annotations, annotator=annotator.name, max_attempts=3)
    assert record["sft_examples"] == len(examples) == len(built) - record["attempts"]["failed"]
    assert record["rl_examples"] == len(subset) and sum(record["attempts"].values()) == len(built)


@pytest.fixture
def released(world: Path, tmp_path: Path) -> Path:
    """A folder of data with 20 pairs of RLAIF-V in the form of R1-Reward-RL, every third one swapped."""
    pairs = list(SOURCES["rlaif_v"].read(world / "rlaif_v", cache=tmp_path / "cache"))[:20]
    mixed = [pair.swapped() if number % 3 == 0 else pair for number, pair in enumerate(pairs)]
    export_items(mixed, tmp_path / "root" / "r1_reward_rl", form="authors")
    (tmp_path / "root" / "povid").symlink_to(world / "povid")
    return tmp_path / "root"


def test_the_released_rl_set_is_rl_data_without_an_annotator(released: Path, tmp_path: Path) -> None:
    original = [pair.responses for pair in ALL_SOURCES["r1_reward_rl"].read(released / "r1_reward_rl")]
    sources = {"r1_reward_rl": ALL_SOURCES["r1_reward_rl"]}
    built = build_dataset(released, tmp_path / "out", sampled_pairs=1, seed=0, sources=sources)
    assert len(built) == 20 and built.positions == {"1": 10, "2": 10}
    right = {pair.responses[pair.preferred - 1] for pair in built}
    assert right == {pair[1 if number % 3 == 0 else 0] for number, pair in enumerate(original)}
    assert len(built.to_annotate()) == 0
    settings = DataSettings(sources=("r1_reward_rl",), annotator="openai")
    annotator = make_annotator(settings, tmp_path / "no truth", 0)  # and no key is asked for
    annotations = annotate_pairs(annotator, built.to_annotate(), path=tmp_path / "a.jsonl", max_attempts=3)
    assert list(select_rl(built, annotations)) == list(built)
    write_pairs(tmp_path / "sft.jsonl", select_sft(built, annotations))
    with pytest.raises(ValueError, match=r"name a source of Table 2 in data\.sources"):
        require_examples(tmp_path / "sft.jsonl")
    record = data_record(built, annotations, annotator=annotator.name, max_attempts=3)
    assert record["rl_examples"] == 20 and record["sft_examples"] == 0 and annotator.record() == {}
    assert set(record["attempts"].values()) == {0}


def test_beside_others_the_released_rl_set_only_joins_the_rl_data(released: Path, tmp_path: Path) -> None:
    sources = {name: ALL_SOURCES[name] for name in ("povid", "r1_reward_rl")}
    built = build_dataset(released, tmp_path / "out", sampled_pairs=10, seed=0, sources=sources)
    assert built.sources["r1_reward_rl"]["sampled"] == 20 and built.sources["povid"]["sampled"] == 10
    asked = list(built.to_annotate())
    assert len(asked) == len(built.to_annotate()) == 10 and {pair.source for pair in asked} == {"povid"}
    rest, validation = built.hold_out(15, seed=0)
    left = [pair for pair in asked if pair not in validation]
    assert list(rest.to_annotate()) == left and 0 < len(left) < len(asked), "what was held out stays so"
    annotations = [Annotation(pair.pair_id, (_answer(pair.preferred),), reached=True) for pair in asked]
    assert [example.pair for example in select_sft(built, annotations)] == asked
    assert {pair.source for pair in select_rl(built, annotations)} == {"r1_reward_rl"}
    assert select_easy(built, annotations, count=99, seed=0) == asked
    for wrong in (annotations[1:], [*annotations, Annotation("x", (_answer(1),), reached=True)], []):
        with pytest.raises(ValueError, match="stands beside"):
            list(select_rl(built, wrong))


PROSE = """The picture shows a red ring on a table. It is large.

**Response 1:** It says that the ring is red. This is correct.
**Response 2:** It says "blue", which is wrong. It also invents a cat.

Response 1 is better. Both responses are short, but Response 1 is right and Response 2 is wrong."""


def answer(text: str, verdict: int = 1) -> str:
    return f"<think>{text}</think><answer>{verdict}</answer>"


def test_prose_is_split_by_the_response_it_is_about() -> None:
    critiques = split_critiques(answer(PROSE))
    common = "The picture shows a red ring on a table. It is large."
    assert critiques.split
    assert critiques.texts == (
        f"{common} **The response:** It says that the ring is red. This is correct.",
        f'{common} **The response:** It says "blue", which is wrong. It also invents a cat.',
    )


def test_a_row_of_the_mini_world_is_split_in_two() -> None:
    text = "ring red : 1 red right , 2 blue wrong . sum 2 plus 3 is 5 : 1 4 wrong , 2 5 right ."
    critiques = split_critiques(answer(f"{text} response 2 is better ."))
    assert critiques.split
    assert critiques.texts == (
        "ring red : red right . sum 2 plus 3 is 5 : 4 wrong .",
        "ring red : blue wrong . sum 2 plus 3 is 5 : 5 right .",
    )


@given(st.sampled_from(sorted(TASKS)), st.integers(0, 2**32))
def test_every_task_of_the_mini_world_splits_and_exchanging_responses_exchanges_critiques(task, seed) -> None:
    case = TASKS[task](np.random.default_rng(seed))
    right, wrong = case.right_values(), list(case.wrong)
    given_order = split_critiques(answer(write_reasoning(case.facts, right, wrong, tie=1)[0]))
    swapped = split_critiques(answer(write_reasoning(case.facts, wrong, right, tie=1)[0]))
    assert given_order.split and given_order.texts == swapped.texts[::-1]
    assert "wrong" not in given_order.texts[0] and given_order.texts[1].count("wrong") == len(case.facts)
    assert all("better" not in text and "response" not in text for text in given_order.texts)


@pytest.mark.parametrize(
    "text",
    ["The ring is red.", "Response 1 is right.", "Response 1 is better than Response 2.", ""],
)
def test_reasoning_that_is_silent_about_a_response_is_left_whole_for_both(text: str) -> None:
    critiques = split_critiques(answer(text))
    assert not critiques.split and critiques.texts == (text, text)


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
    source = write_pairs(tmp_path / "sft.jsonl", EXAMPLES)
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
