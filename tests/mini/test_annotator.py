"""The scripted annotator: ideal without weaknesses, and each weakness does what its sentence says."""

from pathlib import Path

import numpy as np
import pytest

from r1reward.data.build import build_dataset
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.mini.annotator import RULES, ScriptedAnnotator, Truth, misread, read_truth
from r1reward.mini.tasks import TASKS, moves_from
from r1reward.mini.world import write_world
from r1reward.parsing import corrects_itself, extract_reasoning, follows_format, parse_verdict
from r1reward.settings import ScriptSettings, WorldSettings
from r1reward.types import PreferencePair

IDEAL = ScriptSettings()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, WorldSettings(pairs_per_source=90, benchmark_pairs=1, validation_pairs=1), seed=5)
    return folder


@pytest.fixture(scope="module")
def pairs(world, tmp_path_factory):
    return tuple(build_dataset(world, tmp_path_factory.mktemp("built"), sampled_pairs=270, seed=0))


def annotator(world: Path, seed: int = 0, **weaknesses: float) -> ScriptedAnnotator:
    return ScriptedAnnotator(world / "truth.jsonl", ScriptSettings(**weaknesses), seed)


def right_share(judge: ScriptedAnnotator, pairs: list[PreferencePair], attempt: int = 0) -> float:
    return np.mean([parse_verdict(judge.answer(p, attempt)).agrees_with(p.preferred) for p in pairs])


def about(world: Path, pairs: tuple[PreferencePair, ...], *tasks: str) -> list[PreferencePair]:
    truth = read_truth(world / "truth.jsonl")
    return [pair for pair in pairs if truth[pair.meta["image"], pair.question].task in tasks]


def test_the_ideal_teacher_is_always_right_at_once(world, pairs):
    ideal = annotator(world)
    texts = [ideal.answer(pair, 0) for pair in pairs]
    assert all(follows_format(text) for text in texts)
    assert right_share(ideal, pairs) == 1
    assert [ideal.answer(pair, 1) for pair in pairs] == texts


def test_answers_follow_from_pair_seed_and_attempt_alone(world, pairs):
    def answers(seed: int, order: int) -> dict[tuple[str, int], str]:
        asked = [(pair, attempt) for pair in pairs for attempt in range(3)][::order]
        judge = annotator(world, seed, misreading=0.3, lapses=0.3, slips=0.1, checks=0.4)
        return {(pair.pair_id, attempt): judge.answer(pair, attempt) for pair, attempt in asked}

    assert answers(0, 1) == answers(0, -1) != answers(1, 1)


@pytest.mark.parametrize(
    ("task", "items", "value", "seen"),
    [
        ("count", (), "2", "2"),
        ("count", (), "5", "4"),
        ("total", (), "3 plus 1 is 4", "2 plus 1 is 3"),
        ("sum", (), "8 plus 5 is 13", "8 plus 5 is 3"),
        ("sum", (), "4 plus 5 is 9", "4 plus 5 is 9"),
        ("sum", (), "7 plus 7 is 14", "1 plus 1 is 2"),
        ("digit", (), "7", "1"),
        ("count", (), "1", "1"),
        ("colour", (), "purple", "blue"),
        ("colour", (), "blue", "blue"),
        ("shape", (), "ring", "circle"),
        ("colour", (), "yellow", "green"),
        ("existence", (("ring", "blue"),), "no", "yes"),
        ("existence", (("star", "red"),), "no", "no"),
    ],
)
def test_rules_see_what_their_sentences_say(task, items, value, seen):
    truth = Truth(task, (("red ring", value),), items)
    for rule in RULES.values():
        value = rule(truth, "red ring", value)
    assert value == seen


@pytest.mark.parametrize(
    ("weakness", "tasks"),
    [
        ("undercounting", ("count",)),
        ("forgotten_carries", ("sum",)),
        ("agreeing", ("existence",)),
        ("look_alikes", ("colour", "shape", "digit")),
        ("laziness", ("colours_3", "describe")),
        ("misreading", ("colour", "shape")),
    ],
)
def test_what_is_wrong_once_is_wrong_again(world, pairs, weakness, tasks):
    """Each weakness of pairs costs its kinds of questions, the same ones at every attempt."""
    judge, asked = annotator(world, **{weakness: 1.0}), about(world, pairs, *tasks)
    assert right_share(judge, asked) < 0.95 < right_share(annotator(world), asked)
    assert [judge.answer(pair, 0) for pair in asked] == [judge.answer(pair, 2) for pair in asked]


def test_a_rate_is_a_share_of_the_pairs_which_grows_with_it(world, pairs):
    lists = about(world, pairs, "colours_2", "colours_3", "describe")

    def lazy(rate: float) -> set[str]:
        judge = annotator(world, laziness=rate)
        return {p.pair_id for p in lists if judge.answer(p, 0) != annotator(world).answer(p, 0)}

    assert set() == lazy(0.0) < lazy(0.3) < lazy(0.7) < {pair.pair_id for pair in lists}


def test_one_weakness_does_not_move_another(world, pairs):
    lists = about(world, pairs, "colours_2", "colours_3", "describe")
    plain, slips = annotator(world, laziness=0.4), annotator(world, laziness=0.4, agreeing=1.0)
    assert [plain.answer(pair, 0) for pair in lists] == [slips.answer(pair, 0) for pair in lists]


def test_lapses_differ_by_attempt(world, pairs):
    judge = annotator(world, lapses=0.3)
    first, second = ([judge.answer(pair, attempt) for pair in pairs] for attempt in range(2))
    changed = np.mean([one != other for one, other in zip(first, second, strict=True)])
    assert 0.3 < changed < 0.95 and 0.6 < right_share(judge, pairs) < 0.95


def test_slips_contradict_the_reasoning_and_differ_by_attempt(world, pairs):
    judge, reader = annotator(world, slips=0.3), ScriptedConsistencyJudge()
    answers = [[judge.answer(pair, attempt) for pair in pairs] for attempt in range(2)]
    shares = []
    for texts in answers:
        opinions = reader.judge(list(map(extract_reasoning, texts)), list(map(parse_verdict, texts)))
        shares.append(np.mean([opinion is False for opinion in opinions]))
    assert all(abs(share - 0.3) < 0.09 for share in shares) and answers[0] != answers[1]


def test_intuition_gives_the_right_verdict_where_a_rule_misled_the_reasoning(world, pairs):
    """Against its own conclusion; of what nothing misled, nothing changes."""
    asked, rules = about(world, pairs, "existence", "count", "sum"), dict.fromkeys(RULES, 1.0)
    misled, sensed = annotator(world, **rules), annotator(world, **rules, intuition=1.0)
    assert right_share(misled, asked) < 0.7 < 1 == right_share(sensed, asked)
    wrong = [pair for pair in asked if not parse_verdict(misled.answer(pair, 0)).agrees_with(pair.preferred)]
    for pair in asked:
        texts = [judge.answer(pair, 0) for judge in (misled, sensed)]
        assert extract_reasoning(texts[0]) == extract_reasoning(texts[1])
        (opinion,) = ScriptedConsistencyJudge().judge(
            [extract_reasoning(texts[1])], [parse_verdict(texts[1])]
        )
        assert (opinion is False) == (pair in wrong) == (texts[0] != texts[1])
    ideal, calm = annotator(world), annotator(world, intuition=1.0)
    assert [ideal.answer(pair, 0) for pair in asked] == [calm.answer(pair, 0) for pair in asked]


def test_corrections_are_aloud_and_end_right(world, pairs):
    judge = annotator(world, corrections=1.0)
    texts = [judge.answer(pair, 0) for pair in pairs]
    assert all(" , no , " in text and corrects_itself(extract_reasoning(text)) for text in texts)
    assert right_share(judge, pairs) == 1


def test_checks_make_answers_longer_and_change_no_verdict(world, pairs):
    judge, ideal = annotator(world, checks=0.5), annotator(world)
    words = [[len(one.answer(pair, 0).split()) for pair in pairs] for one in (judge, ideal)]
    assert np.mean(words[0]) > 1.3 * np.mean(words[1]) and right_share(judge, pairs) == 1
    assert all(longer >= plain for longer, plain in zip(*words, strict=True))


def test_the_longer_of_equals_is_better_for_the_verbose(world):
    question, truth = (
        "what colour is the ring ?",
        '{"image": "a.png", "question": "what colour is the ring ?",',
    )
    path = world / "equals.jsonl"
    path.write_text(truth + ' "task": "colour", "facts": [["ring", "red"]], "items": [["ring", "red"]]}\n')
    texts = "the ring is red .", "the ring is red . i am sure of it ."
    asked = [
        PreferencePair(f"p-{n}-{order}", "p", question, texts[::order], 1, meta={"image": "a.png"})
        for n in range(60)
        for order in (1, -1)
    ]
    longer = {}
    for rate in (0.0, 1.0):
        judge = ScriptedAnnotator(path, ScriptSettings(verbosity=rate), 0)
        chosen = [parse_verdict(judge.answer(pair, 0)).value for pair in asked]
        longer[rate] = np.mean(
            [pair.responses[int(k) - 1] == texts[1] for pair, k in zip(asked, chosen, strict=True)]
        )
    assert longer[1.0] == 1 and 0.3 < longer[0.0] < 0.7


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_fact_is_misread_as_another_answer(task):
    rng = np.random.default_rng(0)
    for _ in range(50):
        case = TASKS[task](rng)
        items = tuple((item.name, item.colour) for _, item in case.scenes[0].items)
        for _, value in case.facts:
            seen = misread(Truth(task, case.facts, items), value, rng)
            assert seen != value
            if task in ("sum", "total"):
                first, _, second, _, total = seen.split()
                assert int(first) + int(second) == int(total) != int(value.split()[-1])
            if task == "motion":
                _, start, _, end, _, way = seen.split()
                assert moves_from(int(start) - 1)[way] == int(end) - 1
            if task == "count":
                assert abs(int(seen) - int(value)) == 1 and 1 <= int(seen) <= 6


def test_misreading_an_unknown_value_is_an_error():
    with pytest.raises(ValueError, match="mauve"):
        misread(Truth("colour", (), ()), "mauve", np.random.default_rng(0))


def test_a_pair_without_truth_or_with_other_claims_is_named(world, pairs):
    unknown = PreferencePair("p-0", "p", "what ?", ("a", "b"), 1)
    with pytest.raises(ValueError, match="p-0: no truth"):
        annotator(world).answer(unknown, 0)
    strange = PreferencePair("s-1", "s", pairs[0].question, ("hm", "well"), 1, meta=pairs[0].meta)
    with pytest.raises(ValueError, match="s-1: claims"):
        annotator(world).answer(strange, 0)


def test_faulty_truth_names_file_and_row(tmp_path):
    (tmp_path / "truth.jsonl").write_text('{"image": "a.png"}\n')
    with pytest.raises(ValueError, match=r"truth\.jsonl, row 1"):
        read_truth(tmp_path / "truth.jsonl")


def test_fingerprint_and_record_name_every_weakness(world):
    one, other = annotator(world, slips=0.1), annotator(world, slips=0.2)
    assert one.fingerprint != other.fingerprint
    assert one.record() == {"annotator": "scripted", **ScriptSettings(slips=0.1).model_dump(), "seed": 0}
