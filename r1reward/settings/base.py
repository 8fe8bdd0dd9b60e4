"""What all settings share, and how servers are reached."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ModelName = Annotated[str, Field(min_length=1, description="Name of the model at the server.")]
Address = Annotated[
    str,
    Field(
        pattern=r"^https?://[^@?#\s]+$",
        description="Address of the server, up to /v1 and without credentials.",
    ),
]
KeyVariable = Annotated[
    str, Field(description="Environment variable that holds the key; empty for a server without keys.")
]


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ConnectionSettings(Settings):
    """A model behind an OpenAI-compatible server, and how it is reached."""

    model: ModelName
    base_url: Address = "http://localhost:8000/v1"
    key_variable: KeyVariable = ""
    concurrency: int = Field(default=8, ge=1, le=512, description="Requests at the same time.")
    timeout_seconds: float = Field(default=120.0, gt=0, description="Longest time for one request.")
    max_retries: int = Field(
        default=6, ge=0, description="Repetitions of a request without an answer before it has failed."
    )
    price_input: float = Field(
        default=0.0, ge=0, description="US dollars for a million prompt tokens; 0 shows tokens instead."
    )
    price_output: float = Field(default=0.0, ge=0, description="US dollars for a million tokens of answers.")


class ServerSettings(ConnectionSettings):
    """A model behind an OpenAI-compatible server, and how it is asked."""

    temperature: float = Field(default=0.0, ge=0, le=2, description="Sampling temperature.")
    seed: int | None = Field(default=None, ge=0, description="Sent with each request.")
    max_tokens: int = Field(default=2048, ge=1, description="Most tokens an answer may have.")
