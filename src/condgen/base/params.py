"""Reads params.yaml as DVC does, with ruamel.yaml (YAML 1.2), and validates it.

A mistake is reported in one line that names the key, the value and what it must be.
"""

import re
import reprlib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError

from condgen.base.errors import UserError, one_line
from condgen.base.sections import Section

PATH = "params.yaml"
UNKNOWN = ("extra_forbidden", "invalid_key")  # pydantic's types of error


class Top(BaseModel):
    """The values of params.yaml that belong to no section."""

    model_config = ConfigDict(strict=True)
    seed: int = Field(ge=0, le=2**32 - 1)
    threads: int = Field(ge=1, le=1024)


class _Whole(Top):
    """All of params.yaml, once its sections are added."""

    model_config = ConfigDict(extra="forbid")


def read(section: type[Section], path: str | Path = PATH) -> Any:
    """One section of params.yaml as an instance of `section`. Raises UserError."""
    name = section.section
    return getattr(validate(_model(BaseModel, [section]), load(path), path), name)


def read_seed(path: str | Path = PATH) -> int:
    """The top-level `seed`, 0 <= seed < 2^32. Raises UserError."""
    return validate(Top, load(path), path).seed


def read_threads(path: str | Path = PATH) -> int:
    """The top-level `threads`, 1 to 1024. Raises UserError."""
    return validate(Top, load(path), path).threads


def check(content: dict[str, Any], path: str | Path, sections: list[type[Section]]) -> None:
    """Raises UserError unless the content is `Top` and exactly these sections, all of them valid."""
    validate(_model(_Whole, sections), content, path)


def flat(path: str | Path = PATH) -> dict[str, Any]:
    """All of params.yaml with dotted names, {'cgan.lr': 0.001, ...}: what MLflow shows."""
    return dotted(load(path))


def dotted(content: dict[str, Any]) -> dict[str, Any]:
    """{'cgan': {'lr': 0.001}} -> {'cgan.lr': 0.001}."""
    items: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            items |= {f"{key}.{name}": v for name, v in value.items()}
        else:
            items[str(key)] = value
    return items


def as_text(value: Any) -> str:
    """A value as DVC's -S takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def load(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError."""
    try:
        return parse(Path(path).read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run from a checkout of condgen") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not YAML: {error}") from None


def parse(text: str, path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML text; messages call it `path`. Raises UserError."""
    reader = YAML(typ="safe")
    reader.Constructor = _Constructor
    try:
        content = reader.load(text)
    except MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path} is not YAML: {one_line(error.problem)}{where}") from None
    except Exception as error:
        # Besides YAMLError, the constructors of YAML's types raise what int() or date() raise.
        raise UserError(f"{path} is not YAML: {one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, but must hold named sections")
    return content


def plain(value: Any) -> Any:
    """The same for values that are equal as numbers: 1, 1.0 and, as MLflow has them, "1" and "1.0"."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


class LeadingZero(str):
    """An integer such as 010: 10 in YAML 1.2, 8 in YAML 1.1 and in C. A string, so validation refuses it."""

    __repr__ = str.__str__


class _Constructor(SafeConstructor):
    def construct_yaml_int(self, node: Any) -> Any:
        if re.match(r"[-+]?0[\d_]", node.value):
            return LeadingZero(node.value)
        return super().construct_yaml_int(node)


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)


def _model(base: type[BaseModel], sections: list[type[Section]]) -> type[BaseModel]:
    """`base` with a field for each section."""
    fields: dict[str, Any] = {section.section: (section, ...) for section in sections}
    return create_model("Params", __base__=base, **fields)


def validate(model: type[BaseModel], content: dict[str, Any], path: str | Path) -> Any:
    """The content as an instance of a pydantic model. Raises UserError, one line."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_mistake(model, content, error.errors(include_url=False))}") from None


def _mistake(model: Any, content: dict[str, Any], errors: list[Any]) -> str:
    """Describes the first of pydantic's errors."""
    first = errors[0]
    if first["type"] == "value_error":  # a section's own sentence about parameters that do not go together
        return str(first["ctx"]["error"])
    *within, key = first["loc"][:2]  # a third item is an index into a list
    owner, prefix = "the file", ""
    for owner in within:  # the section, if the key is in one
        model, content, prefix = model.model_fields[owner].annotation, content[owner], f"{owner}."
    keys, name = ", ".join(model.model_fields), prefix + one_line(key)
    if first["type"] == "missing":
        unknown = [e["loc"][-1] for e in errors if e["type"] in UNKNOWN and e["loc"][:-1] == tuple(within)]
        if unknown:  # probably a typo
            return f"{name} is missing, and {prefix}{one_line(unknown[0])} is unknown"
        return f"{name} is missing: it must be {_must_be(model.model_fields[key])}"
    if first["type"] == "extra_forbidden":
        return f"{name} is {_show(content[key])}, but {owner} has no such key: it has {keys}"
    if first["type"] == "invalid_key":
        return f"{owner} has the key {one_line(key)}, but must have {keys}"
    zeros = ", without leading zeros" if isinstance(first["input"], LeadingZero) else ""
    return f"{name} is {_show(content[key])}, but must be {_must_be(model.model_fields[key])}{zeros}"


def _must_be(field: FieldInfo) -> str:
    """What a field accepts, in words: 'a number in (0, 1]'."""
    if field.description:
        return field.description
    kind: Any = field.annotation
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(value) for value in get_args(kind))
    if get_origin(kind) is list:
        return "a list of one or more whole numbers, each at least 1"
    if issubclass(kind, BaseModel):
        return "a section with " + ", ".join(kind.model_fields)
    words = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
    bounds = {name: getattr(rule, name) for rule in field.metadata for name in ("gt", "ge", "lt", "le")
              if hasattr(rule, name)}  # fmt: skip
    if not bounds:
        return words
    low = f"[{bounds['ge']}" if "ge" in bounds else f"({bounds.get('gt', '-inf')}"
    high = f"{bounds['le']}]" if "le" in bounds else f"{bounds.get('lt', 'inf')})"
    return f"{words} in {low}, {high}"


def _show(value: Any) -> str:
    """The repr of any value, in one line of limited length."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 80
    try:
        return one_line(shown.repr(value))
    except ValueError:  # an integer of more digits than Python converts
        return "a number of thousands of digits"
