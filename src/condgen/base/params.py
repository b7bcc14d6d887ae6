"""Reads params.yaml, one validated section at a time.

A section is a subclass of `Section` that lives beside the code that uses it, so that a new option of
the CGAN does not retrain the CVAE: DVC sees which file changed.
"""

import reprlib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from condgen.base.errors import UserError

PATH = "params.yaml"


def _exponent(value: Any) -> Any:
    """Accepts 1e-05, which `dvc exp run -S` writes and YAML 1.1 reads as a string for want of a dot."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Number = Annotated[float, BeforeValidator(_exponent)]
"""A finite float, also where YAML made a string of it."""


class Section(BaseModel):
    """One section of params.yaml: typed, immutable; unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    section: ClassVar[str]


class Top(BaseModel):
    """The values of params.yaml that belong to no section."""

    model_config = ConfigDict(strict=True)
    seed: int = Field(ge=0, lt=2**32)
    threads: int = Field(ge=1, le=1024)


def read(section: type[Section], path: str | Path = PATH) -> Any:
    """One section of params.yaml as an instance of `section`. Raises UserError, in one line."""
    return _validate(section, _load(path), path)


def read_seed(path: str | Path = PATH) -> int:
    """The top-level `seed`, 0 <= seed < 2^32. Raises UserError, in one line."""
    return _top(_load(path), path).seed


def read_threads(path: str | Path = PATH) -> int:
    """The top-level `threads`, 1 to 1024. Raises UserError, in one line."""
    return _top(_load(path), path).threads


def check(path: str | Path, sections: list[type[Section]]) -> None:
    """Raises UserError unless params.yaml holds `Top` and exactly these sections, all of them valid."""
    content = _load(path)
    known = [*Top.model_fields, *(section.section for section in sections)]
    for key in content:
        if key not in known:
            raise UserError(f"{path}: {_line(key)} is not a known section: allowed are {', '.join(known)}")
    _top(content, path)
    for section in sections:
        _validate(section, content, path)


def flat(path: str | Path = PATH) -> dict[str, Any]:
    """All of params.yaml with dotted names, {'cgan.lr': 0.001, ...}: what MLflow shows."""
    items: dict[str, Any] = {}
    for key, value in _load(path).items():
        if isinstance(value, dict):
            items |= {f"{key}.{name}": v for name, v in value.items()}
        else:
            items[str(key)] = value
    return items


def _load(path: str | Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run from a checkout of condgen") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:
        # Any: besides YAMLError, the constructors of YAML's types raise what int() or date() raise.
        raise UserError(f"{path} is not YAML: {_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold named sections, but holds {type(content).__name__}")
    return content


def _top(content: dict[str, Any], path: str | Path) -> Top:
    values = {key: content[key] for key in Top.model_fields if key in content}
    try:
        return Top.model_validate(values)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        what = f"is {_show(values[key])}" if key in values else "is missing"
        raise UserError(f"{path}: {key} {what}: allowed is {_allowed(Top.model_fields[key])}") from None


def _validate(section: type[Section], content: dict[str, Any], path: str | Path) -> Section:
    name = section.section
    values = content.get(name)
    if values is None:
        raise UserError(f"{path}: the section {name} is missing: it holds {', '.join(section.model_fields)}")
    if not isinstance(values, dict):
        raise UserError(f"{path}: {name} is {_show(values)}: allowed is a section with {_keys(section)}")
    odd = [key for key in values if not isinstance(key, str)]
    if odd:
        raise UserError(f"{path}: {name} has the key {_show(odd[0])}: allowed are {_keys(section)}")
    try:
        return section.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, kind = first["loc"][0] if first["loc"] else "", first["type"]
        field = section.model_fields.get(str(key))
        if field is None and kind == "extra_forbidden":
            found = f"{name}.{_line(key)} is {_show(values[key])}"
            text = f"{found}, but there is no such key: allowed are {_keys(section)}"
        elif kind == "missing" and field is not None:
            text = f"{name}.{_line(key)} is missing: allowed is {_allowed(field)}"
        elif field is not None:
            text = f"{name}.{_line(key)} is {_show(values[key])}: allowed is {_allowed(field)}"
        else:
            text = f"{name}: {first['msg']}"
        raise UserError(f"{path}: {text}") from None


def _show(value: Any) -> str:
    """A value as Python writes it, in one line of bounded length, whatever it is."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 80
    try:
        return _line(shown.repr(value))
    except ValueError:  # an integer of more digits than Python converts
        return "a number of thousands of digits"


def _line(text: Any) -> str:
    return " ".join(str(text).split())[:300]


def _keys(section: type[Section]) -> str:
    return ", ".join(section.model_fields)


def _allowed(field: FieldInfo) -> str:
    """What a field takes, in words: 'a number, greater than 0, at most 1'."""
    words = [_type(field.annotation)]
    for constraint in field.metadata:
        for attribute, text in (
            ("gt", "greater than {}"),
            ("ge", "at least {}"),
            ("lt", "less than {}"),
            ("le", "at most {}"),
            ("min_length", "{} or more of them"),
        ):
            bound = getattr(constraint, attribute, None)
            if bound is not None:
                words.append(text.format(bound))
    return ", ".join(words)


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) in (list, tuple):
        return "a list of whole numbers, each at least 1"
    return {bool: "true or false", int: "a whole number", float: "a number"}[annotation]
