"""Logs: one line an event, as text or as JSON; keys are never logged."""

import logging
import re
import sys

import structlog

_LONGEST = 300  # letters of another's text in a sentence of ours
_ENGINE = "dbos"  # the job engine's own logger
_TRACEBACK = "Traceback (most recent call last)"
_LAST = re.compile(r"^[\w.]*(?:Error|Exception|Timeout|Exit)\b.*$", re.MULTILINE)


def configure_logging(level: str, *, as_json: bool) -> None:
    """Set up logging for this process; called once, by the command that starts it."""
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
    engine = logging.getLogger(_ENGINE)
    engine.handlers, engine.propagate = [EngineLog()], False


def in_a_line(error: BaseException) -> str:
    """Return the class and first line of an error; for a database error, those of the driver."""
    said = getattr(error, "orig", None) or error
    lines = str(said).strip().splitlines()
    return f"{type(said).__name__}: {lines[0].strip()}" if lines else type(said).__name__


def printable(text: str) -> str:
    """Return another's text on one line, without control characters, as long as a sentence."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def warn_in_a_line(logger: str, event: str, error: BaseException, **about: str) -> None:
    """Log a temporary failure in one line; its traceback is logged at level `debug`.

    `event` names the component, what failed and what follows from it.
    """
    log = structlog.get_logger(logger).bind(**about)
    log.warning(event, error=in_a_line(error))
    log.debug(event, exc_info=error)


class EngineLog(logging.Handler):
    """Writes the messages of the job engine as lines of this log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message of the job engine; a traceback goes to level `debug`."""
        log, message = structlog.get_logger(_ENGINE), record.getMessage()
        log.log(record.levelno, _in_a_line(message))
        if _TRACEBACK in message:
            log.debug(message)
        elif record.exc_info:
            log.debug(message, exc_info=record.exc_info)


def _in_a_line(message: str) -> str:
    """Return the first line of a message; of a traceback, the error at its end."""
    head, traceback, rest = message.partition(_TRACEBACK)
    if traceback and (errors := _LAST.findall(rest)):
        return f"{head.strip(' :')}: {errors[-1]}"
    return next((line.strip() for line in message.splitlines() if line.strip()), "")


def _console() -> structlog.dev.ConsoleRenderer:
    # Plain: a traceback with local variables would show keys.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
