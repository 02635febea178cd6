"""What the groups share: the base class of the tree, and kinds of values."""

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

Share = Annotated[float, Field(ge=0, lt=1)]
Factors = Annotated[list[PositiveInt], Field(min_length=1)]


def _interval(text: str) -> str:
    if not re.fullmatch(r"\s*(?=.*[1-9])\d+(\.\d+)?\s*(%|steps?|epochs?)\s*", text):
        raise ValueError("write '500 steps', '2 epochs' or '10%' (of the budget)")
    return text


def _size(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValidationError:
        raise ValueError("write one number, or [height, width], each from 1 to 4096") from None


Interval = Annotated[str, AfterValidator(_interval)]
Side = Annotated[int, Field(ge=1, le=4096)]
Size = Annotated[Side | tuple[Side, Side], WrapValidator(_size)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Amount = Annotated[float, Field(gt=0, le=1e12)]


class Tree(BaseModel):
    # numbers are taken for words, since YAML reads the name of class 7 as a number
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)
