"""What several votes about one pair come to: majority voting (paper C.5, C.10) and weighted voting."""

from __future__ import annotations

from collections.abc import Sequence

from r1reward.types import Judgment, Verdict, Vote


def decide(votes: Sequence[Vote], *, weighted: bool = False) -> Judgment:
    """The verdict with most votes, or with `weighted` the one whose votes have most probability.

    Probability breaks a tie of numbers. The verdict is UNPARSED where no vote has one, or where nothing
    tells the two apart. An unknown probability counts as 1. The confidence is the mean over the votes of
    the probability they give to the verdict: its own, one less that of the other, 0 without a verdict. The
    reasoning is that of the most probable vote for the verdict, one that saw the given order if there is any.
    """
    numbers, weights = ({Verdict.FIRST: 0.0, Verdict.SECOND: 0.0} for _ in range(2))
    for vote in votes:
        if vote.verdict is not Verdict.UNPARSED:
            numbers[vote.verdict] += 1
            weights[vote.verdict] += _probability(vote)
    keys = {verdict: (0.0 if weighted else numbers[verdict], weights[verdict]) for verdict in numbers}
    winner, loser = sorted(keys, key=keys.__getitem__, reverse=True)
    if keys[winner] == keys[loser]:
        return Judgment(Verdict.UNPARSED, 0.0, votes[0].reasoning if votes else "", tuple(votes))
    support = sum(
        _probability(vote) if vote.verdict is winner else 1 - _probability(vote)
        for vote in votes
        if vote.verdict is not Verdict.UNPARSED
    )
    named = [vote for vote in votes if vote.verdict is winner]
    # A vote that saw the responses exchanged calls the winner by the other number.
    best = max(named, key=lambda vote: (not vote.swapped, _probability(vote)))
    return Judgment(winner, support / len(votes), best.reasoning, tuple(votes), best.swapped)


def _probability(vote: Vote) -> float:
    return 1.0 if vote.probability is None else vote.probability
