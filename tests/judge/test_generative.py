"""The generative judge: requests and votes, votes by hand, and R1-Reward for use."""

import base64
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import r1reward
from r1reward.cli import main
from r1reward.engines import EngineError, Sampling
from r1reward.judge.generative import R1Reward, decide, judge_samples
from r1reward.prompts import judge_prompt
from r1reward.types import Comparison, Completion, PreferencePair, Request, Verdict, Vote


class LengthEngine:
    """Prefers the longer response; unsure (probability 0.6) if Response 2 is better. Remembers requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.samplings: list[Sampling] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, progress=None):
        self.requests += requests
        self.samplings.append(sampling)
        return [tuple(self.answer(request) for _ in range(sampling.samples)) for request in requests]

    def answer(self, request: Request) -> Completion:
        first, second = (
            len(line.partition(":")[2]) for line in request.text.splitlines() if line.startswith("r")
        )
        return said("1", 0.9) if first >= second else said("2", 0.6)


def said(digit: str, probability: float) -> Completion:
    tokens = ("<think>", "longer", "</think>", "<answer>", digit, "</answer>", "<|im_end|>")
    log_probs = tuple(math.log(probability) if token == digit else 0.0 for token in tokens)
    return Completion("".join(tokens[:-1]), tuple(range(7)), log_probs, "stop", tokens)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> R1Reward:
    def prompt(pair: Comparison, *, name: str) -> str:
        return f"{pair.question}\nr1:{pair.responses[0]}\nr2:{pair.responses[1]}"

    monkeypatch.setattr("r1reward.judge.generative.judge_prompt", prompt)
    return R1Reward(LengthEngine(), prompt="mini", max_new_tokens=8)


def test_one_vote_is_greedy_and_its_probability_the_confidence(judge: R1Reward) -> None:
    judgment = judge.compare("what ?", Path("a.png"), "long", "x")
    assert (judgment.verdict, judgment.reasoning) == (Verdict.FIRST, "longer")
    assert judgment.confidence == pytest.approx(0.9)
    assert judge.engine.requests[0].images == ("a.png",)
    assert judge.engine.samplings == [Sampling(8, 0.0, 1, 0)]


def test_verdicts_of_exchanged_responses_are_turned_back(judge: R1Reward) -> None:
    judgment = judge.compare("what ?", ["a.png", "b.png"], "x", "long", votes=3, both_orders=True)
    assert judgment.verdict is Verdict.SECOND
    assert [vote.swapped for vote in judgment.votes] == [False] * 3 + [True] * 3
    assert {vote.verdict for vote in judgment.votes} == {Verdict.SECOND}
    assert judgment.confidence == pytest.approx((0.6 + 0.9) / 2)
    assert judge.engine.samplings == [Sampling(8, 1.0, 3, 0)]
    assert len({request.place for request in judge.engine.requests}) == 2, "each order draws by itself"


def test_equally_many_votes_are_decided_by_probability(judge: R1Reward) -> None:
    """Responses of equal length: always "1", so each order names another response."""
    judge.engine.answer = lambda request: Completion("<answer>1</answer>", (1,), (0.0,), "stop")
    assert judge.compare("what ?", (), "same", "long", both_orders=True).verdict is Verdict.UNPARSED
    with pytest.raises(ValueError, match="votes is 0"):
        judge.compare("what ?", (), "a", "b", votes=0)


def test_ranking_orders_by_wins(judge: R1Reward) -> None:
    ranking = judge.rank("what ?", "a.png", ["xx", "x", "xxxx", "xx"])
    assert ranking.order == (2, 0, 3, 1) and ranking.best == 2
    assert ranking.scores == pytest.approx((0.5, 0.0, 1.0, 0.5))
    assert (0, 3) not in ranking.judgments and len(ranking.judgments) == 5
    assert len(judge.engine.requests) == 10
    with pytest.raises(ValueError, match="two are needed"):
        judge.rank("what ?", (), ["only"])


def test_responses_that_won_equally_often_are_ordered_by_confidence(judge: R1Reward) -> None:
    """Each of the three beats one: "a" the next for sure (0.9), the others by 0.6."""
    answers = {"a b": said("1", 0.9), "a c": said("2", 0.6), "b c": said("1", 0.6)}
    judge.engine.answer = lambda request: answers[
        " ".join(line.partition(":")[2] for line in request.text.splitlines() if line.startswith("r"))
    ]
    ranking = judge.rank("what ?", (), ["a", "b", "c"], both_orders=False)
    assert ranking.scores == (0.5, 0.5, 0.5) and ranking.order == (0, 2, 1)


def test_many_questions_are_ranked_in_one_call(judge: R1Reward) -> None:
    asked = [(Comparison(f"q{i}", ("", ""), label=f"row {i}"), ["x" * i, "xx"]) for i in range(1, 4)]
    rankings = judge.rank_all(asked)
    assert [ranking.best for ranking in rankings] == [1, 0, 0]
    assert len(judge.engine.samplings) == 1


def test_the_tiny_model_judges_pixels(tmp_path: Path) -> None:
    Image.new("RGB", (84, 84), "red").save(tmp_path / "a.png")
    overrides = {"engine": {"max_new_tokens": 4}, "bench": {"sampled_temperature": 0.5}}
    judge = r1reward.R1Reward.from_pretrained("mini", profile="mini", overrides=overrides, seed=5)
    assert (judge.max_new_tokens, judge.temperature, judge.seed) == (4, 0.5, 5)
    asked = ("what colour ?", tmp_path / "a.png", "red .", "blue .")
    judgment = judge.compare(*asked, votes=2, both_orders=True)
    assert len(judgment.votes) == 4
    assert judge.prompt == "mini"
    assert judge.compare(*asked, votes=2, both_orders=True) == judgment


def test_a_picture_may_be_a_path_bytes_a_uri_or_an_image(tmp_path: Path) -> None:
    picture, path = Image.new("RGB", (84, 84), "red"), tmp_path / "a.png"
    picture.save(path)
    judge = r1reward.R1Reward.from_pretrained(
        "mini", profile="mini", overrides={"engine": {"max_new_tokens": 4}}
    )
    uri = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    given = [path, str(path), path.read_bytes(), uri, picture, [picture], (path,)]
    judgments = [judge.compare("what ?", one, "red .", "blue .") for one in given]
    assert all(judgment == judgments[0] for judgment in judgments)
    assert judge.compare("what ?", (), "red .", "blue .") != judgments[0], "the picture is seen"
    for wrong in (3, [None], {"a": 1}):
        with pytest.raises(ValueError, match="a picture is a path, bytes, a data: URI or a PIL image"):
            judge.compare("what ?", wrong, "red .", "blue .")
    for broken in (b"nothing", "data:image/png;base64,AAAA", tmp_path):
        with pytest.raises(EngineError, match=r"\(the pair\) cannot be read") as caught:
            judge.compare("what ?", broken, "red .", "blue .")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["runs/minii", "./runs/mini", "a/b/c", "no-such-model-here"])
def test_a_mistyped_checkpoint_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one = ["--question", "q", "--response-1", "a", "--response-2", "b"]
    assert main(["judge", "--model", name, "--profile", "mini", *one]) == 2
    assert name in (said := capsys.readouterr().err) and said.count("\n") == 1


def test_what_a_model_wrote_cannot_pass_for_the_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "<think>wrong\r\x1b[2K\nverdict 2, confidence 1.000, 1 votes\x1b[8m</think><answer>1</answer>"
    engine = LengthEngine()
    engine.answer = lambda _: Completion(text, (1,), (0.0,), "stop", ("1",))
    monkeypatch.setattr(R1Reward, "from_pretrained", lambda *_, **__: R1Reward(engine))
    one = ["--question", "q", "--response-1", "a", "--response-2", "b"]
    assert main(["judge", "--model", "mini", *one]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("verdict")] == lines[-1:]
    assert lines[-1].startswith("verdict 1") and "\x1b" not in "".join(lines)
    engine.answer = lambda _: Completion("no idea", (1,), (0.0,), "stop", ("1",))
    assert main(["judge", "--model", "mini", *one]) == 1


def test_importing_the_package_loads_no_torch() -> None:
    code = "import r1reward, sys; assert 'torch' not in sys.modules; r1reward.R1Reward; r1reward.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "module 'r1reward' has no attribute 'nothing'" in done.stderr


class ScriptedEngine:
    """Answers with given texts and remembers its requests."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)
        self.requests: list[Request] = []

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        self.requests += requests
        if progress:
            progress(len(requests), len(requests))
        answers = [Completion(text, (1, 2), (-0.1, -0.2), "stop") for text in self.texts]
        return [(answer,) * sampling.samples for answer in answers]


PAIRS = [
    PreferencePair("p-0", "p", "q0", ("a", "b"), 1, images=("a.png",), origin="f.json, row 1"),
    PreferencePair("p-1", "p", "q1", ("c", "d"), 2, frames=("0.png", "1.png")),
    PreferencePair("p-2", "p", "q2", ("e", "f"), 2),
]
TEXTS = ["<think>one</think><answer>1</answer>", "<think>two</think><answer>2</answer>", "hm"]


def test_pairs_become_requests_and_completions_judgments() -> None:
    engine, seen = ScriptedEngine(TEXTS), []
    answers = judge_samples(
        engine, PAIRS, prompt="mini", sampling=Sampling(8, 0.0), progress=lambda *counts: seen.append(counts)
    )
    votes = [vote for (vote,) in answers]
    assert [j.verdict for j in votes] == [Verdict.FIRST, Verdict.SECOND, Verdict.UNPARSED]
    assert [j.reasoning for j in votes] == ["one", "two", "hm"]
    assert [j.completion.text for j in votes] == TEXTS
    first, second, third = engine.requests
    assert first == Request(judge_prompt(PAIRS[0], name="mini"), ("a.png",), (), "f.json, row 1")
    assert second.frames == ("0.png", "1.png") and third.origin == "p-2"
    assert seen == [(3, 3)]


def test_the_prompt_is_chosen_by_name() -> None:
    engine = ScriptedEngine(TEXTS)
    judge_samples(engine, PAIRS, prompt="paper", sampling=Sampling(8, 0.0))
    assert engine.requests[0].text == judge_prompt(PAIRS[0], name="paper")


def test_a_pair_has_as_many_votes_as_samples() -> None:
    sampling = Sampling(8, 1.0, samples=3)
    judged = judge_samples(ScriptedEngine(TEXTS), PAIRS, prompt="mini", sampling=sampling)
    assert [len(votes) for votes in judged] == [3, 3, 3]


def test_missing_answers_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 of 3"):
        judge_samples(ScriptedEngine(TEXTS[:2]), PAIRS, prompt="mini", sampling=Sampling(8, 0.0))


FIRST, SECOND, UNPARSED = Verdict.FIRST, Verdict.SECOND, Verdict.UNPARSED


def vote(verdict: Verdict, probability: float | None = None) -> Vote:
    return Vote(verdict, f"{verdict} {probability}", Completion("", (), (), "stop"), probability)


def test_the_majority_decides_and_probability_only_breaks_ties() -> None:
    votes = [vote(FIRST, 0.51), vote(FIRST, 0.52), vote(SECOND, 0.99)]
    judged = decide(votes)
    assert (judged.verdict, judged.reasoning) == (FIRST, "1 0.52")
    assert judged.confidence == pytest.approx((0.51 + 0.52 + 0.01) / 3)
    assert decide(votes[1:]).verdict is SECOND
    assert judged.votes == tuple(votes)


def test_weights_overrule_numbers() -> None:
    votes = [vote(FIRST, 0.5), vote(FIRST, 0.45), vote(SECOND, 0.99)]
    assert decide(votes, weighted=True).verdict is SECOND
    assert decide(votes).verdict is FIRST


def test_without_a_difference_there_is_no_verdict() -> None:
    assert decide([vote(FIRST), vote(SECOND)]).verdict is UNPARSED
    assert decide([vote(UNPARSED), vote(UNPARSED)]).verdict is UNPARSED
    assert decide([]).verdict is UNPARSED
    judged = decide([vote(UNPARSED), vote(SECOND, 0.8)])
    assert (judged.verdict, judged.confidence) == (SECOND, pytest.approx(0.4))


def test_the_reasoning_is_of_a_vote_that_saw_the_given_order_if_there_is_one() -> None:
    seen, turned = vote(FIRST, 0.6), replace(vote(FIRST, 0.9), reasoning="response 2 is better", swapped=True)
    judged = decide([turned, seen])
    assert (judged.reasoning, judged.swapped) == (seen.reasoning, False)
    assert decide([turned, vote(UNPARSED)]).swapped


@given(
    st.lists(st.builds(vote, st.sampled_from(Verdict), st.none() | st.floats(0, 1)), max_size=8),
    st.booleans(),
    st.randoms(),
)
def test_order_and_names_do_not_matter(votes: list[Vote], weighted: bool, random) -> None:
    judged = decide(votes, weighted=weighted)
    assert 0 <= judged.confidence <= 1 + 1e-9
    turned = [Vote(v.verdict.swapped(), v.reasoning, v.completion, v.probability) for v in votes]
    assert decide(turned, weighted=weighted).verdict is judged.verdict.swapped()
    if not weighted and len({v.probability for v in votes}) <= 1:
        random.shuffle(votes)
        assert decide(votes).verdict is judged.verdict
