"""One checkpoint on one benchmark as the reports show it: greedy, sampled, blanked, many votes, ranking.

A generative reward model is asked which response is better. A scalar one scores each response alone and once,
so both orders of a pair are the same judgment by construction: order consistency is 1 and there is no bias of
position (ties apart). What a killed run has judged is not judged again while the weights are the same.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from r1reward.bench.judging import (
    BenchJudge,
    Line,
    generative_judge,
    judge_all,
    rows_of,
    run_benchmark,
    tell_faults,
)
from r1reward.bench.load import spread
from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.data.rows import LEFT_OUT
from r1reward.engines import ForgivingEngine, Sampling, ask_each, errors_of, identify, load_engine
from r1reward.files import read_jsonl, write_atomic
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.judge.generative import R1Reward
from r1reward.judge.scalar import ResponseScore, load_reward_model, score_request, score_responses
from r1reward.parsing import corrects_itself, extract_reasoning, parse_verdict
from r1reward.progress import Progress
from r1reward.prompts import PromptName, score_template
from r1reward.scoring import MARKS, Behaviour, score
from r1reward.settings import Profile
from r1reward.types import Comparison, PreferencePair, Verdict, Vote

Mode = Literal["greedy", "sampled", "blank_greedy"]
MODES: tuple[Mode, ...] = ("greedy", "sampled", "blank_greedy")
SCALAR_MODES: tuple[Mode, ...] = ("greedy", "blank_greedy")
POOL_CHUNK_PAIRS = 64
# The real text file, in the folder that R1REWARD_DATA names, and the photographs beside it.
VARIABLE, TEXT_FILE, PHOTOGRAPHS = "R1REWARD_DATA", "r1_reward/vl_reward_bench_data.jsonl", "images"
REAL_FILE_SAMPLING = Sampling(max_new_tokens=16, temperature=1.0, seed=0)

# A question with several responses, and the indices of the good ones.
Question = tuple[Comparison, list[str], list[int]]


def evaluate(
    checkpoint: str | Path,
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    seed: int,
    work: Path,
    record: Path,
    modes: Sequence[Mode] = MODES,
    label: str = "judging",
) -> dict[Mode, Behaviour]:
    """Judge all pairs in both orders, once a mode; records go to `<record>/<mode>.jsonl`.

    `sampled` draws one answer at `bench.sampled_temperature`; `blank_greedy` shows grey pictures.
    """
    engine, model = load_engine(checkpoint, profile), identify(checkpoint, profile)
    tokens, sampled = profile.engine.max_new_tokens, profile.bench.sampled_temperature
    ask = partial(generative_judge, engine, prompt=profile.model.prompt, model=model)
    judges: dict[Mode, BenchJudge] = {
        mode: ask(Sampling(tokens, sampled if mode == "sampled" else 0.0, seed=seed)) for mode in modes
    }
    return _in_modes(judges, pairs, profile=profile, work=work, record=record, label=label)


def evaluate_scalar(
    checkpoint: str | Path,
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    work: Path,
    record: Path,
    modes: Sequence[Mode] = SCALAR_MODES,
) -> dict[Mode, Behaviour]:
    """`evaluate` for a scalar reward model; nothing is sampled.

    The higher score wins; equal scores are no verdict ("u"). Scores and critiques go to `work`. `tokens` of a
    record counts the critiques of both responses.
    """
    model, processor = load_reward_model(checkpoint, settings=profile.model)
    settings, prompt = profile.engine, profile.model.prompt
    scorer = partial(
        score_responses,
        model,
        processor,
        batch_size=settings.batch_size,
        max_prompt_tokens=settings.max_prompt_tokens,
        max_new_tokens=settings.max_new_tokens,
    )

    def ask(
        pairs: Sequence[PreferencePair], _: Sampling, progress: Callable[[int, int], None] | None
    ) -> list[Line]:
        requests = [score_request(pair, position, prompt=prompt) for pair in pairs for position in (1, 2)]
        scored = ask_each(scorer, requests, progress=progress)
        return [line for two in zip(scored[::2], scored[1::2], strict=True) for line in _scored_lines(*two)]

    key = {"prompt": score_template(prompt), "model": identify(checkpoint, profile)}
    judge = BenchJudge(ask, key, Sampling(settings.max_new_tokens, temperature=0.0))
    return _in_modes(
        dict.fromkeys(modes, judge), pairs, profile=profile, work=work, record=record, label="scoring"
    )


def validate(
    checkpoint: str | Path, pairs: Sequence[PreferencePair], *, profile: Profile, seed: int, work: Path
) -> dict[str, Any]:
    """Accuracy on the validation split and what the sampled answers are like, for choosing settings."""
    modes: tuple[Mode, ...] = ("greedy", "sampled")
    scores = evaluate(
        checkpoint, pairs, profile=profile, seed=seed, work=work, record=work, modes=modes, label="validating"
    )
    return {
        "accuracy": scores["greedy"].accuracy,
        "accuracy_sampled": scores["sampled"].accuracy,
        "answer_one": scores["greedy"].answer_one,
        "unparsed_share": scores["greedy"].unparsed,
        "n": len(pairs),
        **describe_answers(pairs, read_jsonl(work / "sampled" / "texts.jsonl")),
    }


def describe_answers(pairs: Sequence[PreferencePair], lines: Sequence[Line]) -> dict[str, float]:
    """What could differ between algorithms, of the judgments of `pairs` as `judge_all` keeps them.

    `contradicted` is the share of answers that are not what their reasoning concludes (as the scripted
    consistency judge reads it), `corrected` the share whose reasoning takes something back. `length_spread`
    is the 95th percentile of the tokens of an answer over the 5th, within questions that begin alike.
    """
    texts = [line["text"] for line in lines]
    opinions = ScriptedConsistencyJudge().judge(
        [extract_reasoning(text) for text in texts], [parse_verdict(text) for text in texts]
    )
    kinds = {row: pair.question.split()[:2] for row, pair in zip(rows_of(pairs), pairs, strict=True)}
    lengths: dict[str, list[int]] = {}
    for line in lines:
        lengths.setdefault(" ".join(kinds[line["row"]]), []).append(line["tokens"])
    low, high = (
        sum(len(one) * float(np.quantile(one, level)) for one in lengths.values()) for level in (0.05, 0.95)
    )
    return {
        "contradicted": sum(opinion is False for opinion in opinions) / len(texts),
        "corrected": sum(map(corrects_itself, texts)) / len(texts),
        "length_spread": high / low,
    }


def judge_often(
    checkpoint: str | Path,
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    seed: int,
    work: Path,
    record: Path,
) -> None:
    """Draw many answers (`scaling`) for pairs in both orders, from which all ways of voting are computed.

    A line of the record has the pair's row, group and preferred response, and for each order the verdicts
    as they were printed (1, 2, or u for unparsed), the probability of each answer's digit in thousandths
    (1000 where the engine does not tell) and all tokens together; `not_asked` counts orders that could not be
    asked.
    """
    settings = profile.scaling
    pairs = spread(pairs, settings.pairs)
    judge = generative_judge(
        load_engine(checkpoint, profile),
        Sampling(profile.engine.max_new_tokens, profile.bench.sampled_temperature, settings.samples, seed),
        prompt=profile.model.prompt,
        model=identify(checkpoint, profile),
        read=_pool_line,
        chunk_pairs=POOL_CHUNK_PAIRS,
    )
    judged = judge_all(judge, pairs, work=work, progress=Progress("judging again and again"))
    lines = []
    for pair, row, both in zip(pairs, rows_of(pairs), judged, strict=True):
        line = {"row": row, "group": pair.category, "preferred": pair.preferred}
        line |= {name: [one[name] for one in both] for name in ("verdicts", "probabilities")}
        line["tokens"] = [sum(one["tokens"]) for one in both]
        if not_asked := sum("error" in one for one in both):
            line["not_asked"] = not_asked
        line |= {name: pair.meta[name] for name in ("question", LEFT_OUT) if name in pair.meta}
        lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    write_atomic(record, "".join(lines))


def ranking_questions(pairs: Sequence[PreferencePair], *, least: int = 3) -> list[Question]:
    """Questions of a benchmark with several pairs about one, such as MM-RLHF-RewardBench.

    For each question with at least `least` different responses: the comparison (its responses are the
    first pair's), all its responses, sorted so that the order says nothing, and the indices of those that
    are preferred in some pair and rejected in none.
    """
    grouped: dict[str, list[PreferencePair]] = {}
    for pair in pairs:
        grouped.setdefault(str(pair.meta["question"]), []).append(pair)
    questions = []
    for name, found in grouped.items():
        chosen = {pair.responses[pair.preferred - 1] for pair in found}
        rejected = {pair.responses[2 - pair.preferred] for pair in found}
        responses, good = sorted(chosen | rejected), chosen - rejected
        if len(responses) >= least and good:
            first = found[0]
            item = Comparison(first.question, first.responses, first.images, first.frames, name)
            questions.append((item, responses, [i for i, text in enumerate(responses) if text in good]))
    return questions


def rank_with(
    checkpoint: str | Path, questions: Sequence[Question], *, profile: Profile, record: Path, votes: int = 1
) -> None:
    """Rank the responses of every question in both orders; the record has N, good ones and order.

    Comparisons that cannot be asked win nothing and are counted; a question without any other has no order.
    A run that was killed ranks again from the start.
    """
    judge = R1Reward.from_pretrained(checkpoint, profile=profile)
    judge.engine = ForgivingEngine(judge.engine)
    asked = [(item, responses) for item, responses, _ in questions]
    rankings = judge.rank_all(asked, votes=votes, progress=Progress("ranking"))
    lines, errors, total = [], [], 0
    for (item, responses, good), ranking in zip(questions, rankings, strict=True):
        found = [vote.completion for one in ranking.judgments.values() for vote in one.votes]
        failed = errors_of(found)
        errors, total = errors + failed, total + len(found)
        order = list(ranking.order) if len(failed) < len(found) else []
        line = {"question": item.label, "responses": len(responses), "good": good, "order": order}
        lines.append(line | ({"not_asked": len(failed)} if failed else {}))
    tell_faults(errors, total)
    write_atomic(record, "".join(json.dumps(line) + "\n" for line in lines))


def find_real_file() -> tuple[Path, list[Path]] | None:
    """The text file and the photographs in the folder that R1REWARD_DATA names, or None."""
    folder = Path(os.environ.get(VARIABLE, ""))
    text, photographs = folder / TEXT_FILE, sorted((folder / PHOTOGRAPHS).glob("*.jpg"))
    return (text, photographs) if os.environ.get(VARIABLE) and text.exists() and photographs else None


def run_real_file(
    checkpoint: str | Path,
    source: tuple[Path, Sequence[Path]],
    *,
    profile: Profile,
    prompt: PromptName,
    work: Path,
) -> dict[str, Any]:
    """Judge the first `bench.real_rows` rows of the real 1,250-row text file in both orders.

    Photographs stand in for its pictures, which are not part of it, so the score means nothing, as the
    outcome says. The point is that real-size text, Table 1 and large photographs go through the same loader,
    prompt, engine, parser and scorer as everything else. Prompts of thousands of tokens are let through, in
    smaller batches; answers are sampled and cut after 16 tokens.
    """
    text, photographs = source
    pairs = load_benchmark(text, stand_in_pictures=list(photographs))[: profile.bench.real_rows]
    settings = profile.engine.model_copy(update={"max_prompt_tokens": 16_384, "batch_size": 8})
    engine = load_engine(checkpoint, profile.model_copy(update={"engine": settings}))
    records = run_benchmark(
        generative_judge(engine, REAL_FILE_SAMPLING, prompt=prompt),
        pairs,
        work=work,
        record=work / "record.jsonl",
        progress=Progress(f"real file, {prompt} prompt"),
    )
    scores, sampling = score(records), REAL_FILE_SAMPLING
    return {
        "label": f"{records[0].pictures}: the score means nothing",
        "prompt": prompt,
        "decoding": f"sampled, temperature {sampling.temperature:g}, seed {sampling.seed}",
        "rows": len(pairs),
        "group_sizes": dict(sorted(Counter(record.group for record in records).items())),
        "overall": scores.accuracy,
        "unparsed_share": scores.unparsed,
    }


def verdict_of(first: float, second: float) -> Verdict:
    """The response with the higher score; equal scores, or one that is not a number, are UNPARSED."""
    if first > second:
        return Verdict.FIRST
    return Verdict.SECOND if second > first else Verdict.UNPARSED


def _in_modes(
    judges: Mapping[Mode, BenchJudge],
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    work: Path,
    record: Path,
    label: str,
) -> dict[Mode, Behaviour]:
    scores: dict[Mode, Behaviour] = {}
    for mode, judge in judges.items():
        records = run_benchmark(
            judge,
            pairs,
            work=work / mode,
            record=record / f"{mode}.jsonl",
            blank=mode == "blank_greedy",
            unparsed=profile.bench.unparsed,
            progress=Progress(f"{label}, {mode}"),
        )
        scores[mode] = score(records, unparsed=profile.bench.unparsed)
    return scores


def _scored_lines(first: ResponseScore | str, second: ResponseScore | str) -> list[Line]:
    """Lines of both orders of a pair; what stands for a response that cannot be scored is its error."""
    if isinstance(first, str) or isinstance(second, str):
        error = first if isinstance(first, str) else second
        return [{"verdict": MARKS[Verdict.UNPARSED], "tokens": 0, "error": error}] * 2
    return [
        {
            "verdict": MARKS[verdict_of(shown[0].score, shown[1].score)],
            "tokens": first.tokens + second.tokens,
            "scores": [response.score for response in shown],
            "critiques": [response.critique for response in shown],
        }
        for shown in ((first, second), (second, first))
    ]


def _pool_line(votes: Sequence[Vote]) -> Line:
    known = [1.0 if vote.probability is None else vote.probability for vote in votes]
    return {
        "verdicts": "".join(MARKS[vote.verdict] for vote in votes),
        "probabilities": [round(1000 * value) for value in known],
        "tokens": [len(vote.completion.token_ids) for vote in votes],
        "texts": [vote.completion.text for vote in votes],
    }
