"""The query of a sample's URL, as in `?label=cat&codes=digit:3&codes=slant:0.7&truncation=0.7&stack=9c781c6be0fddd2f`.

Equal parameters have one canonical form, so that caches find them. Their meaning is that of POST /generate.
"""

import math
from typing import Annotated
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from service.api.schemas.requests import (
    MAX_CODES,
    MAX_LABEL_CHARACTERS,
    MAX_NAME_CHARACTERS,
    GenerateRequest,
    Truncation,
)
from service.engine.interface import SamplerName
from service.errors import InvalidRequest, Problem
from service.server.problems import invalid_request

MAX_CODE_CHARACTERS = 200


def _code(text: str) -> str:
    name, colon, number = text.rpartition(":")
    if colon and name:
        try:
            if math.isfinite(float(number)):
                return text
        except ValueError:
            pass
    raise PydanticCustomError("code", 'Input should be a name, a colon and a number, such as "digit:3"')


Code = Annotated[str, Field(max_length=MAX_CODE_CHARACTERS), AfterValidator(_code)]


class SampleQuery(BaseModel):
    """What a sample depends on beside its package and its seed; as in /generate."""

    model_config = ConfigDict(extra="forbid")

    label: Annotated[str, Field(max_length=MAX_LABEL_CHARACTERS)] | None = Field(
        None,
        description="class of a conditional package, by number or name; left out: drawn from the seed",
        examples=["3"],
    )
    codes: list[Code] = Field(
        default_factory=list,
        max_length=MAX_CODES,
        fail_fast=True,
        description="a code of an InfoGAN package, its name and value, as in `digit:3`; repeat the parameter for more; "
        "a code left out is drawn from the seed",
        examples=[["digit:3", "slant:0.7"]],
    )
    truncation: Truncation | None = Field(
        None, description="redraw the latent's coordinates outside ± this", examples=[0.7]
    )
    sampler: SamplerName = Field("philox-1", description="how the seed becomes a latent", examples=["philox-1"])
    condition: int | None = Field(
        None,
        description="id of what the generator draws for (a user, a query), where the package has a condition",
        examples=[42],
    )
    stack: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)] | None = Field(
        None,
        description="what the bytes depend on, as GET /models/NAME/versions/VERSION shows it; with the current one the "
        "answer may be kept for ever, without it or with another the answer is a redirection to it",
        examples=["5f0c1e9a7b3d2468"],
    )

    def request(self, seed: int) -> GenerateRequest:
        """The request to /generate that means the same.

        Raises:
            InvalidRequest: /generate would not take a parameter.
        """
        wanted = self.model_dump(exclude={"stack"}, exclude_defaults=True)
        if self.codes:
            wanted["codes"] = dict(map(_read_code, self.codes))
            if len(wanted["codes"]) < len(self.codes):
                raise InvalidRequest(Problem(("query", "codes"), "a code is named twice"))
        try:
            return GenerateRequest.model_validate({"seed": seed, **wanted})
        except ValidationError as error:
            raise invalid_request(error.errors(include_url=False, include_context=False), "query") from error

    def canonical(self, stack: str) -> str:
        """The query string that means the same under a stack id: without defaults, in a fixed order."""
        return urlencode(self.model_dump(exclude_defaults=True) | {"stack": stack}, doseq=True)


def _read_code(text: str) -> tuple[str, int | float]:
    name, _, number = text.rpartition(":")
    return name, int(number) if number.isascii() and number.isdigit() else float(number)
