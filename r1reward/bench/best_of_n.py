"""Best-of-N: a judge ranks all responses to a question, of which the better ones are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from r1reward.bench.runner import tell_faults
from r1reward.engines import ForgivingEngine, errors_of
from r1reward.files import write_atomic
from r1reward.judge.r1_reward import R1Reward
from r1reward.progress import Progress
from r1reward.settings import Profile
from r1reward.types import Comparison, PreferencePair

Question = tuple[Comparison, list[str], list[int]]


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
