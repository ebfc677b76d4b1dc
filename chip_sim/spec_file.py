"""Reads a chip's spec from a YAML or JSON file: numbers in SI units, or with a unit.

base: pcm            # a named chip to start from; without it, a perfect one
device:
  g_max: 25 uS       # the same as 25.0e-6
  variation: 0.08
time_step: 10 us
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chip_sim.errors import SpecFileError, UnknownSpecKeyError
from chip_sim.presets import is_preset, preset
from chip_sim.spec import ChipSpec

BASE = "base"
_PREFIXES = {"p": -12, "n": -9, "u": -6, "µ": -6, "μ": -6, "m": -3, "": 0, "k": 3}  # powers of ten
_QUANTITY = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s]*)\s*$")
_PERCENT = "%"

Schema = Mapping[str, Any]


def find_spec(word: str) -> ChipSpec:
    """Return the spec of the preset of that name, else that in the file of that name.

    A word without an ending is a name. Raises what `preset` or `load_spec` raises.
    """
    path = Path(word)
    return load_spec(path) if path.suffix and not is_preset(word) else preset(word)


def load_spec(path: Path) -> ChipSpec:
    """Read the spec that a file describes.

    Raises UnknownSpecKeyError, UnknownPresetError or SpecFileError; OSError if there is no file.
    """
    return read_spec(path.read_text(encoding="utf-8"), path)


def read_spec(text: str, path: Path) -> ChipSpec:
    """Read a spec from text; the ending of `path` says whether it is JSON or YAML.

    Raises UnknownSpecKeyError, UnknownPresetError or SpecFileError.
    """
    data = _parse(text, path)
    if not isinstance(data, dict):
        raise SpecFileError(str(path), "", "a chip's spec is a table of keys and values")
    schema = ChipSpec.model_json_schema()
    plain = _plain({k: v for k, v in data.items() if k != BASE}, schema, schema["$defs"], "")
    base = preset(str(data[BASE])).model_dump() if BASE in data else {}
    if base and "model" not in data:
        plain["model"] = Path(path).stem
    try:
        return ChipSpec.model_validate(_merged(base, plain))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise SpecFileError(str(path), where, reason) from error


def _parse(text: str, path: Path) -> Any:
    if path.suffix.lower() == ".json":
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise SpecFileError(str(path), f"line {error.lineno}", error.msg) from error
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise SpecFileError(str(path), "", "name it .yaml, .yml or .json")
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecFileError(str(path), "", " ".join(str(error).split())) from error


def _plain(data: Mapping[str, Any], schema: Schema, defs: Schema, above: str) -> dict[str, Any]:
    """Return the data in SI units. Raises UnknownSpecKeyError or SpecFileError."""
    known: Schema = schema["properties"]
    plain: dict[str, Any] = {}
    for key, value in data.items():
        path = f"{above}{key}"
        if key not in known:
            raise UnknownSpecKeyError(path, _nearest(str(key), list(known)), sorted(known))
        inner = _resolved(known[key], defs)
        if "properties" in inner and isinstance(value, Mapping):
            plain[key] = _plain(value, inner, defs, f"{path}.")
        else:
            plain[key] = _number(value, inner, path)
    return plain


def _resolved(schema: Schema, defs: Schema) -> Schema:
    """Return the schema that a reference names or, of a value that may be None, the other one."""
    if "$ref" in schema:
        resolved: Schema = defs[schema["$ref"].rsplit("/", 1)[1]]
        return resolved
    present = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return _resolved(present[0], defs) if present else schema


def _number(value: Any, schema: Schema, path: str) -> Any:
    """Return the value or, of a text with a unit, the number. Raises SpecFileError."""
    if not isinstance(value, str) or schema.get("type") not in ("number", "integer"):
        return value
    wanted, found = schema.get("unit", "1"), _QUANTITY.match(value)
    if found is None:
        raise SpecFileError("", path, f"'{value}' is not a number with a unit ({wanted})")
    number, unit = Decimal(found[1]), found[2]
    if unit == _PERCENT and wanted == "1":
        return float(number.scaleb(-2))
    prefix = unit.removesuffix(wanted) if unit.endswith(wanted) else unit
    if unit and (prefix == unit or prefix not in _PREFIXES):
        raise SpecFileError("", path, f"'{value}' is not in {wanted}")
    return float(number.scaleb(_PREFIXES[prefix]))


def _nearest(key: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(key, known, n=1)), None)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`, mapping by mapping at every depth."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        merged[key] = _merged(base[key], value) if nested else value
    return merged
