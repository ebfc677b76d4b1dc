"""Logs: one line an event, readable on a console or as JSON; never a key."""

import logging
import sys

import structlog


def configure_logging(level: str, *, as_json: bool) -> None:
    """Once a process, by the command that starts it."""
    renderer = structlog.processors.JSONRenderer() if as_json else _console()
    traceback = [structlog.processors.format_exc_info] if as_json else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *traceback,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _console() -> structlog.dev.ConsoleRenderer:
    # Plain: a traceback with local variables would show keys.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
