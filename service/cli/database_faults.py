"""A database that cannot be used, in a sentence: what a command says in place of a traceback."""

_ADVICE = "Start it, or correct TANDEMCAL_DATABASE_URL."


def database_fault(error: Exception) -> str | None:
    """Describe an error that the database setting or its server causes; None for any other."""
    try:
        from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
    except ModuleNotFoundError:  # a client alone, which has no database
        return None
    if isinstance(error, ArgumentError | NoSuchModuleError):
        return "TANDEMCAL_DATABASE_URL is no address of a database that SQLAlchemy knows."
    if not isinstance(error, DBAPIError):
        return None
    words = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    return f"The database {_address()} cannot be used: {words[0].rstrip('.')}. {_ADVICE}"


def _address() -> str:
    from service.db.session import shown_url
    from service.settings import Settings

    return shown_url(Settings().database)
