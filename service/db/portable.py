"""Expressions that each database writes in its own way."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Float, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

TimeColumn = InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]


class _SecondsBetween(FunctionElement[float]):
    type = Float()
    inherit_cache = True


class _WithoutIndex(FunctionElement[str]):
    type = String()
    inherit_cache = True


def seconds_between(begin: TimeColumn, end: TimeColumn) -> ColumnElement[float]:
    """Return the time from one column to another, s; in SQLite to a millisecond."""
    return _SecondsBetween(begin, end)


def without_index(column: InstrumentedAttribute[str]) -> ColumnElement[str]:
    """Return a column by which SQLite looks nothing up.

    It keeps no statistics by itself, and prefers an index of the column where another one finds
    far fewer rows. PostgreSQL knows how many there are.
    """
    return _WithoutIndex(column)


@compiles(_SecondsBetween)
def _by_extract(element: _SecondsBetween, compiler: SQLCompiler, **options: Any) -> str:
    begin, end = (compiler.process(time, **options) for time in element.clauses)
    return f"EXTRACT(EPOCH FROM {end} - {begin})"


@compiles(_SecondsBetween, "sqlite")
def _by_julian_days(element: _SecondsBetween, compiler: SQLCompiler, **options: Any) -> str:
    begin, end = (compiler.process(time, **options) for time in element.clauses)
    return f"86400.0 * (julianday({end}) - julianday({begin}))"


@compiles(_WithoutIndex)
def _plain(element: _WithoutIndex, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_WithoutIndex, "sqlite")
def _unary_plus(element: _WithoutIndex, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"
