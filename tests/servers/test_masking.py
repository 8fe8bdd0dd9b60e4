"""A key in every form that servers have repeated it in."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from r1reward.config import ProfileError, load_profile
from r1reward.servers.replies import KeyMask
from r1reward.settings import AnnotatorSettings

KEY = "sk-/te+st/0123456789&abcdef="
FORMS = {
    "as it is": KEY,
    "in a header": f"Bearer {KEY}",
    "JSON": json.dumps(KEY).replace("/", "\\/"),
    "JSON in JSON": json.dumps(json.dumps(KEY).replace("/", "\\/")),
    "JSON by codes": KEY.replace("/", "\\u002F").replace("+", "\\u002b"),
    "address": f"http://host/?key={quote(KEY, safe='')}&x=1",
    "form": quote_plus(KEY).lower(),
    "address in an address": quote(quote(KEY, safe=""), safe=""),
    "HTML": html.escape(KEY),
    "HTML by codes": KEY.replace("/", "&#47;").replace("+", "&#x2b;"),
    **{
        f"basic {user!r}": base64.b64encode(f"{user}:{KEY}".encode()).decode()
        for user in ("", "u", "us", "use")
    },
    "base64 of addresses": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base64 in JSON": base64.b64encode(KEY.encode()).decode().replace("/", "\\/"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_masked_in_every_form(form: str) -> None:
    sent = f'{{"error": "bad {FORMS[form]} !"}}'.encode()
    mask = KeyMask(KEY)
    shown = mask.in_error(sent)
    assert shown.startswith(b'{"error": "bad ') and b"***" in shown and b"0123456789" not in shown
    # Of base64, only what the signs beside the key have a share in may be left.
    assert len(shown) <= len(b'{"error": "bad http://host/?key=***&x=1"} !') + 12
    assert mask.in_answer(sent) == shown


def test_a_word_as_key_does_not_take_it_from_answers() -> None:
    mask = KeyMask("EMPTY")
    assert mask.in_answer(b"the cup is EMPTY") == b"the cup is EMPTY"
    assert mask.in_error(b"no EMPTY key") == b"no *** key"
    assert KeyMask(KEY).in_error(b"nothing here") == b"nothing here"


@pytest.mark.parametrize(
    "address",
    [
        "http://user:s3cretKEY@host/v1",
        "https://s3cretKEY@host/v1",
        "http://host/v1?key=s3cretKEY",
        "http://host/v1#s3cretKEY",
        "http://user:s3cretKEY",
        "host:s3cretKEY@x",
        "ftp://s3cretKEY",
        "http://[s3cretKEY",
        "http://user:s3cretKEY\\@host/v1",
    ],
)
def test_an_address_with_a_key_is_refused_without_showing_it(address: str) -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        AnnotatorSettings(base_url=address)
    assert "s3cret" not in str(caught.value) + repr(caught.value)
    with pytest.raises(ProfileError, match=r"data\.openai\.base_url: .*key_variable") as refused:
        load_profile("mini", overrides={"data": {"openai": {"base_url": address}}})
    assert "s3cret" not in f"{refused.value} {refused.value!r} {refused.value.__cause__}"


@pytest.mark.parametrize("value", ["sk-s3cret0123456789", "gsk_s3cret0123456789abcd", "a b", "x/y"])
def test_a_key_in_place_of_its_variable_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ProfileError, match="not the name of an environment variable") as caught:
        load_profile("mini", overrides={"data": {"openai": {"key_variable": value}}})
    assert value not in str(caught.value)


def test_other_values_are_shown_where_they_are_refused() -> None:
    with pytest.raises(ProfileError, match=r"concurrency.*\(got 0\)"):
        load_profile("mini", overrides={"data": {"openai": {"concurrency": 0}}})
