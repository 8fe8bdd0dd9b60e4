"""What all settings share, and how servers are reached."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, field_validator

_RANDOM_CHARACTERS = 20

ModelName = Annotated[str, Field(min_length=1)]  # at the server
# What a server may refuse beside the text (see r1reward.servers.requests).
ServerParameter = Literal[
    "logprobs", "seed", "temperature", "max_tokens", "top_p", "top_k", "min_p", "repetition_penalty"
]


def _check_address(value: str) -> str:
    """An address without anything secret in it. The message repeats nothing of it."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[@?#\s\\]", value):
        raise ValueError(
            "not an address like http://host:8000/v1, without user name, key, ? or #; "
            "a key belongs into the environment variable that key_variable names"
        )
    return value


def _check_variable(value: str) -> str:
    """The name of a variable, and not a key that was put in its place. The message repeats nothing of it."""
    looks_random = (
        len(value) >= _RANDOM_CHARACTERS and re.search("[a-z]", value) and re.search("[0-9]", value)
    )
    if value and (not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value) or looks_random):
        raise ValueError("not the name of an environment variable, such as OPENAI_API_KEY")
    return value


# Of a server, up to /v1 and without credentials.
Address = Annotated[str, AfterValidator(_check_address)]
# The environment variable that holds the key; empty for a server without keys.
KeyVariable = Annotated[str, AfterValidator(_check_variable)]
# How a server is reached and paid: no answer is another one for it.
HOW_ASKED = frozenset(
    {"key_variable", "concurrency", "timeout_seconds", "max_retries", "price_input", "price_output", "folder"}
)


class UndeclaredSettingError(RuntimeError):
    """A setting that is read by somebody who has not declared it; the message names both."""


class Settings(BaseModel):
    """Base of all settings: unknown keys, values of another type and numbers that are not finite are refused.

    A whole number stands for a float, a list for a tuple, and nothing else for anything: `true` is no number
    and "no" is not false. Values are frozen and not repeated in errors.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    _reader: str = PrivateAttr(default="")
    _path: str = PrivateAttr(default="")

    @field_validator("*", mode="before")
    @classmethod
    def _a_list_is_a_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    def only(self, declared: Collection[str], *, reader: str, path: str = "") -> Self:
        """A view with the declared settings alone; reading another one raises UndeclaredSettingError.

        Args:
            declared: dotted names from the profile on, of single settings or whole sections.
            reader: who declares them, for the message.
            path: dotted name of this section, with a dot behind it; empty for a profile.
        """
        values = {}
        for name, value in self:
            full = f"{path}{name}"
            if full in declared:
                values[name] = value
            elif any(other.startswith(f"{full}.") for other in declared):
                values[name] = value.only(declared, reader=reader, path=f"{full}.")
        view = self.model_copy()
        object.__setattr__(view, "__dict__", values)
        view._reader, view._path = reader, path
        return view

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As pydantic's; a view that lacks some of what would be written raises UndeclaredSettingError."""
        self._read_all(options.get("include"), options.get("exclude"))
        return super().model_dump(**options)

    def model_dump_json(self, **options: Any) -> str:
        """As `model_dump`, in JSON."""
        self._read_all(options.get("include"), options.get("exclude"))
        return super().model_dump_json(**options)

    def _read_all(self, include: Any, exclude: Any) -> None:
        for name in type(self).model_fields:
            if (include is None or name in include) and name not in (exclude or ()):
                value = getattr(self, name)
                if isinstance(value, Settings):
                    value._read_all(None, None)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Called for what is not there: in a view, fields that are not declared."""
            if name in type(self).model_fields and self._reader:
                raise UndeclaredSettingError(
                    f"{self._reader} does not declare the setting {self._path}{name} in pipeline.toml"
                )
            return super().__getattr__(name)


def setting_names(settings: type[BaseModel], *, path: str = "") -> Iterator[str]:
    """Dotted names of all settings and sections."""
    for name, field in settings.model_fields.items():
        yield f"{path}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, path=f"{path}{name}.")


class ConnectionSettings(Settings):
    """A model behind an OpenAI-compatible server, and how it is reached."""

    model: ModelName
    base_url: Address = "http://localhost:8000/v1"
    key_variable: KeyVariable = ""
    concurrency: int = Field(default=8, ge=1, le=512)  # requests at the same time
    timeout_seconds: float = Field(default=120.0, gt=0)  # longest time for one request
    # Repetitions of a request without an answer before it has failed.
    max_retries: int = Field(default=6, ge=0)
    # What the server is known not to take, which is left out ('max_tokens' is sent as max_completion_tokens);
    # what else it refuses is found out.
    refused: tuple[ServerParameter, ...] = ()


class ServerSettings(ConnectionSettings):
    """A model behind an OpenAI-compatible server, and how it is asked."""

    temperature: float = Field(default=0.0, ge=0, le=2)  # sampling temperature
    seed: int | None = Field(default=None, ge=0)  # sent with each request
    max_tokens: int = Field(default=2048, ge=1)  # most tokens an answer may have
    # US dollars for a million prompt tokens; 0 shows tokens instead.
    price_input: float = Field(default=0.0, ge=0)
    price_output: float = Field(default=0.0, ge=0)  # US dollars for a million tokens of answers
