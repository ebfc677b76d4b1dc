"""Rows that hold what no row may hold, written past everything that would refuse them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import JSON, Boolean, Column, DateTime, Float, Integer, Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from uuid_utils import uuid7

from service.db.base import Base, UtcDateTime
from service.db.session import Database
from service.db.tables import Job
from service.db.upkeep_tables import Policy

# Columns by which rows are found and joined: another value there makes another row, no poison.
_JOINS = {"id", "chip_id", "name", "backend", "job_id", "called_at"}
_NUMBERS = ["1e308", "9e999", "'NaN'", "9223372036854775807"]
_TIMES = ["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'infinity'", "17"]
_JSON = ["null", "7", "[null]", '{"points": 1e999, "budget": 7}', "{", "NaN"]
_WORDS = ["'no such word'", "''"]
_NO_UTF8 = "CAST(x'ff' AS TEXT)"  # on SQLite; on PostgreSQL, which checks, another word


class Poison(NamedTuple):
    """A value, as SQL, in one column of a copied row."""

    column: str
    value: str
    id: str  # of the row; of a policy, its chip


def poison_rows(database: Database, table: type[Base], chip_id: str) -> list[Poison]:
    """Copy a chip with its rows, once for each poison that the database takes in this table.

    The copies have names of their own, and every one is poisoned in one column.
    """
    _allow_nulls(database, table)
    with database.writing() as session:
        return list(_poisoned(session, table, chip_id))


def _poisoned(session: Session, poisoned: type[Base], chip_id: str) -> Iterator[Poison]:
    assert isinstance(poisoned.__table__, Table)
    key = "chip_id" if poisoned is Policy else "id"
    for column in poisoned.__table__.columns:
        for value in _values(column):
            name = poisoned.__tablename__
            change = text(f'UPDATE {name} SET "{column.name}" = {value} WHERE {key} = :id')
            try:
                with session.begin_nested():
                    target = _copy(session, chip_id, with_jobs=poisoned is Job)
                    session.execute(change, {"id": target})
            except DBAPIError:
                continue  # the database itself refuses it
            yield Poison(column.name, value, target)


def _values(column: "Column[Any]") -> list[str]:
    if column.name in _JOINS or column.foreign_keys:
        return []
    return ["NULL", *_of_type(column)]


def _of_type(column: "Column[Any]") -> list[str]:
    match column.type:
        case JSON():
            return [_NO_UTF8, *("'" + found.replace("'", "''") + "'" for found in _JSON)]
        case Boolean():
            return ["7"]
        case Float() | Integer():
            return _NUMBERS
        case UtcDateTime() | DateTime():
            return _TIMES
        case _:
            return [_NO_UTF8, *_WORDS]


def _copy(session: Session, chip_id: str, *, with_jobs: bool) -> str:
    """Copy a chip, its policy and its lease, and its jobs if asked for; return the last new id."""
    chip = new = str(uuid7())
    _insert(session, "chips", "id", chip_id, {"id": chip, "name": f"poisoned {chip}"})
    for table in ("policies", "chip_leases"):
        _insert(session, table, "chip_id", chip_id, {"chip_id": chip})
    jobs = text("SELECT id FROM jobs WHERE chip_id = :id")
    for old in session.scalars(jobs, {"id": chip_id}).all() if with_jobs else ():
        new = str(uuid7())
        _insert(session, "jobs", "id", old, {"id": new, "chip_id": chip})
    return new


def _insert(session: Session, table: str, key: str, id: str, new: dict[str, str]) -> None:
    columns = [column.name for column in Base.metadata.tables[table].columns]
    taken = ", ".join(f":{name}" if name in new else f'"{name}"' for name in columns)
    listed = ", ".join(f'"{name}"' for name in columns)
    copy = f"INSERT INTO {table} ({listed}) SELECT {taken} FROM {table} WHERE {key} = :_id"
    session.execute(text(copy), new | {"_id": id})


def _allow_nulls(database: Database, table: type[Base]) -> None:
    """Take the constraints away that keep NULL out of columns."""
    name = table.__tablename__
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if database.is_sqlite:
            change = "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '')"
            change += f" WHERE name = '{name}'"
            for statement in (
                "PRAGMA writable_schema = ON",
                change,
                "PRAGMA writable_schema = RESET",
            ):
                connection.exec_driver_sql(statement)
            return
        for column in table.__table__.columns:
            if not column.primary_key:
                drop = f'ALTER TABLE {name} ALTER COLUMN "{column.name}" DROP NOT NULL'
                connection.exec_driver_sql(drop)
