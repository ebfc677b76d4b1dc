"""Renews the encryption of stored secrets at the start, and encrypts those that stand in clear."""

import sqlite3
from contextlib import closing
from typing import NamedTuple

import structlog
from sqlalchemy import make_url, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service.db.agent_tables import Agent
from service.db.session import BUSY_TIMEOUT, Database
from service.db.webhook_tables import Webhook
from service.secret_cipher import SecretCipher


class _Found(NamedTuple):
    """How many secrets stood in clear, and how many no key decrypts."""

    in_clear: int
    lost: int
    lost_of_webhooks: int


def renew_secrets(database: Database, cipher: SecretCipher) -> None:
    """Encrypt every stored secret with the newest key, as far as one of the keys decrypts it.

    Secrets that an earlier release left in clear are encrypted, and no copy of them stays in the
    files of the database. Where that is impossible, the log says so.
    """
    with database.writing() as session:
        found = _Found(*_renew_agents(session, cipher), _renew_webhooks(session, cipher))
    log = structlog.get_logger(__name__)
    if found.lost:
        log.warning(
            "secrets: some were encrypted with keys that are not known here, their agents have to "
            "register again",
            agents=found.lost,
        )
    if found.lost_of_webhooks:
        log.warning(
            "secrets: some were encrypted with keys that are not known here, their webhooks are "
            "disabled until they get new ones",
            webhooks=found.lost_of_webhooks,
        )
    if found.in_clear:
        log.info("secrets: those that stood in clear are encrypted now", agents=found.in_clear)
        try:
            _rewrite(database)
        except (OperationalError, sqlite3.OperationalError) as error:
            log.warning(
                "secrets: the database was not rewritten, its file may still hold those that stood "
                "in clear; run VACUUM (PostgreSQL: VACUUM FULL agents)",
                error=str(error),
            )


def _renew_agents(session: Session, cipher: SecretCipher) -> tuple[int, int]:
    """Renew those of agents; return how many stood in clear, and how many are lost."""
    in_clear = lost = 0
    columns = select(Agent.id, Agent.secret, Agent.encrypted_secret)
    for agent_id, clear, stored in session.execute(columns.with_for_update()).all():
        if not clear and stored is not None and cipher.is_newest(stored):
            continue
        secret = clear or cipher.decrypt(stored)
        if secret is None:
            lost += 1
            continue
        in_clear += bool(clear)
        renewed = {Agent.secret: "", Agent.encrypted_secret: cipher.encrypt(secret)}
        session.execute(update(Agent).where(Agent.id == agent_id).values(renewed))
    return in_clear, lost


def _renew_webhooks(session: Session, cipher: SecretCipher) -> int:
    """Renew those of webhooks; return how many are lost."""
    lost = 0
    query = select(Webhook.id, Webhook.encrypted_secret).with_for_update()
    for webhook_id, stored in session.execute(query).all():
        if cipher.is_newest(stored):
            continue
        if (secret := cipher.decrypt(stored)) is None:
            lost += 1
            continue
        renewed = update(Webhook).where(Webhook.id == webhook_id)
        session.execute(renewed.values(encrypted_secret=cipher.encrypt(secret)))
    return lost


def _rewrite(database: Database) -> None:
    """Write the tables anew: what changed rows held before stays in their files, but unseen."""
    if database.is_sqlite:
        path = str(make_url(database.url).database)
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    with database.engine.connect() as plain:
        plain.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM FULL agents"))
