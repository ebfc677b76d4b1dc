"""A database that cannot be used, in a sentence: what a command says in place of a traceback."""

_ADVICE = "Start it, or correct TANDEMCAL_DATABASE_URL."
_MIGRATE = "Run tandemcal migrate."
_NO_TABLE = ("no such table", "no such column", "does not exist")  # as SQLite and PostgreSQL say


def database_fault(error: Exception) -> str | None:
    """Describe an error that the database setting or its server causes; None for any other."""
    try:
        from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
    except ModuleNotFoundError:  # a client alone, which has no database
        return None
    if isinstance(error, ArgumentError | NoSuchModuleError):
        return "TANDEMCAL_DATABASE_URL is no address of an SQLite or PostgreSQL database."
    if not isinstance(error, DBAPIError):
        return None
    words = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    advice = _MIGRATE if any(part in words[0] for part in _NO_TABLE) else _ADVICE
    return f"The database {_address()} cannot be used: {words[0].rstrip('.')}. {advice}"


def _address() -> str:
    from service.db.session import shown_url
    from service.settings import Settings

    return shown_url(Settings().database)
