"""Does the reasoning agree with the final answer? (paper §3.2, the consistency reward)

The paper asks Qwen2.5-VL-7B-Instruct; `ScriptedConsistencyJudge` stands in for it where the reasoning
says its conclusion in fixed words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from r1reward.types import Verdict

_CONCLUSION = re.compile(
    r"\bresponse\s+([12])\s+is\s+(?:(?:the|clearly|slightly|much)\s+)?better\b", re.IGNORECASE
)


class ConsistencyJudge(Protocol):
    """True if a reasoning supports its verdict, False if it contradicts it, None if that is unknown."""

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]: ...


class ScriptedConsistencyJudge:
    """Compares the last "response X is better" of the reasoning with the verdict.

    None where the reasoning says nothing of the kind or there is no verdict.
    """

    name = "scripted"

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        """One value for each reasoning and its verdict; lists of different length are a ValueError."""
        return [_agrees(reasoning, verdict) for reasoning, verdict in zip(reasonings, verdicts, strict=True)]


def _agrees(reasoning: str, verdict: Verdict) -> bool | None:
    conclusions = _CONCLUSION.findall(reasoning)
    if not conclusions or verdict is Verdict.UNPARSED:
        return None
    return conclusions[-1] == verdict.value
