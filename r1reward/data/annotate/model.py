"""A vision-language model as annotator, asked in batches on this machine (the weak annotator, paper C.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from r1reward.engines import Engine, Sampling
from r1reward.judge.reward_model import judge_request
from r1reward.prompts import PromptName, prompt_hash
from r1reward.types import PreferencePair


class ModelAnnotator:
    """Judges pairs with an engine. The first attempt has `temperature`, later ones `retry_temperature`.

    At temperature 0 a model of one's own gives the same answer again, so later attempts are sampled.

    Args:
        engine: what generates; `model` names its weights (a hash, a path).
        prompt: how it is asked.
        max_new_tokens: most tokens of an answer.
    """

    name = "model"

    def __init__(
        self,
        engine: Engine,
        *,
        model: str,
        prompt: PromptName,
        max_new_tokens: int,
        temperature: float = 0.0,
        retry_temperature: float = 1.0,
        seed: int = 0,
        batch_size: int = 256,
    ) -> None:
        self._engine, self._model = engine, model
        self._prompt: PromptName = prompt
        self._max_new_tokens, self._seed = max_new_tokens, seed
        self._temperatures = (temperature, retry_temperature)
        self.batch_size = batch_size

    @property
    def fingerprint(self) -> str:
        """Weights, prompt and everything that draws the answers."""
        drawn = [*self._temperatures, self._max_new_tokens, self._seed, self.batch_size]
        return f"{self._model} prompt={prompt_hash(self._prompt)[:16]} {drawn}"

    def record(self) -> dict[str, Any]:
        """What answered, for the run's records."""
        first, later = self._temperatures
        return {"annotator": self.name, "prompt": self._prompt, "temperature": first} | {
            "retry_temperature": later,
            "model": self._model,
            "seed": self._seed,
        }

    def answers(self, pairs: Sequence[PreferencePair], attempt: int) -> list[str]:
        """One answer for each pair, which may depend on the pairs beside it. Raises EngineError."""
        if not pairs:
            return []
        digest = hashlib.sha256(f"{self._seed} {attempt} {pairs[0].pair_id}".encode()).digest()
        sampling = Sampling(
            self._max_new_tokens,
            temperature=self._temperatures[min(attempt, 1)],
            seed=int.from_bytes(digest[:8]),
        )
        requests = [judge_request(pair, prompt=self._prompt) for pair in pairs]
        return [completion.text for (completion,) in self._engine.generate(requests, sampling)]
