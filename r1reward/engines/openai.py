"""Generation by any OpenAI-compatible server, such as `vllm serve` (extra `api`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from r1reward.engines import EngineError, Progress, Sampling
from r1reward.pictures import Budget
from r1reward.servers.client import ServerClient, ServerError, side_by_side
from r1reward.servers.replies import Reply
from r1reward.servers.requests import chat_body, user_turn
from r1reward.settings import ConnectionSettings
from r1reward.types import Completion, Request

UNKNOWN_TOKEN = -1


class OpenAIEngine:
    """Asks a server for each answer; frames of a video are sent as pictures in order of time.

    Servers do not say which tokens an answer has, so all ids are -1. How far answers repeat at the same
    seed is up to the server. Sampling is that of the request alone: what a checkpoint's
    generation_config.json says is switched off where the server lets it.

    Args:
        settings: the server and the model's name there.
        budget: pictures that do not fit are sent at this size.
        section: where the settings stand in a profile, for messages.
        log: gets one JSON line for each request.
        sleep: waits for so many seconds; for tests.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        budget: Budget | None = None,
        section: str = "engine.openai",
        log: Path | None = None,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        self.settings, self._budget = settings, budget
        # What was answered, and paid, in calls that then failed: whoever asks for it again gets it.
        self._kept: dict[str, Completion] = {}
        self._client = ServerClient(settings, section=section, log=log, sleep=sleep)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, progress: Progress | None = None
    ) -> list[tuple[Completion, ...]]:
        """See `Engine.generate`. A request that the server refuses is an EngineError.

        What was answered before it is kept for the next call that asks for it.

        A server that cannot be asked, or that still fails after all repetitions, is a ServerError.
        """
        self._client.resume()
        wanted = list(product(range(len(requests)), range(sampling.samples)))
        done: dict[tuple[int, int], tuple[str, Completion]] = {}
        for place, answer in side_by_side(
            lambda place: self._answer(requests[place[0]], sampling, *place),
            wanted,
            threads=self.settings.concurrency,
            stop=self._client.stop,
        ):
            done[place] = answer
            if progress:
                progress(len(done), len(wanted))
        for key, _ in done.values():
            self._kept.pop(key, None)
        samples = range(sampling.samples)
        return [tuple(done[index, sample][1] for sample in samples) for index in range(len(requests))]

    def _answer(
        self, request: Request, sampling: Sampling, index: int, sample: int
    ) -> tuple[str, Completion]:
        """The answer, and the hash of what was asked."""
        body = chat_body(
            self.settings.model,
            user_turn(
                request.text, [*request.images, *request.frames], origin=request.origin, budget=self._budget
            ),
            temperature=sampling.temperature,
            max_tokens=sampling.max_new_tokens,
            seed=sampling.seed_of(request.place_or(index), sample) >> 1,
            log_probs=True,
        )
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        if known := self._kept.get(key):
            return key, known
        outcome = self._client.ask(body, about={"origin": request.origin, "sample": sample})
        if isinstance(outcome, Reply):
            self._kept[key] = _completion(outcome, sampling.max_new_tokens)
            return key, self._kept[key]
        if outcome.fatal:
            raise ServerError(self._client.advice(outcome))
        what = f"{request.origin or repr(request.text[:60])}: {outcome.message}"
        if outcome.retry:
            raise ServerError(f"{self.settings.base_url} did not answer {what}")
        raise EngineError(f"{self.settings.base_url} refuses {what}")


def _completion(reply: Reply, most_tokens: int) -> Completion:
    count = len(reply.tokens) or min(reply.completion_tokens or 0, most_tokens)
    reason = "length" if reply.cut else "stop"
    return Completion(reply.text, (UNKNOWN_TOKEN,) * count, reply.log_probs, reason, reply.tokens)
