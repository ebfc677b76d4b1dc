"""Chip leases: who drives a chip, and the token that fences off whoever drove it before."""

from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from service.db.tables import ChipLease


class LeaseRepository:
    """Takes, renews and releases leases in the session's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def take(
        self, chip_id: str, holder: str, job_id: str, ttl: timedelta, now: datetime
    ) -> int | None:
        """Take the chip and return the fencing token; None while somebody else holds the chip."""
        free = or_(ChipLease.holder.is_(None), ChipLease.expires_at < now)
        return self._session.scalar(
            update(ChipLease)
            .where(ChipLease.chip_id == chip_id, free)
            .values(token=ChipLease.token + 1, holder=holder, job_id=job_id, expires_at=now + ttl)
            .returning(ChipLease.token)
        )

    def renew(self, chip_id: str, token: int, ttl: timedelta, now: datetime) -> bool:
        """Hold the chip for another `ttl`; return False where the lease is lost."""
        renewed = self._session.scalar(
            update(ChipLease)
            .where(
                ChipLease.chip_id == chip_id,
                ChipLease.token == token,
                ChipLease.holder.is_not(None),
            )
            .values(expires_at=now + ttl)
            .returning(ChipLease.token)
        )
        return renewed is not None

    def release(self, chip_id: str, token: int) -> bool:
        """Release the chip; return False, and change nothing, where the lease was lost before."""
        released = self._session.scalar(
            update(ChipLease)
            .where(ChipLease.chip_id == chip_id, ChipLease.token == token)
            .values(holder=None, job_id=None)
            .returning(ChipLease.token)
        )
        return released is not None

    def release_held_by(self, holder: str) -> list[str]:
        """Release every chip of an executor that starts anew; return the chips."""
        return list(
            self._session.scalars(
                update(ChipLease)
                .where(ChipLease.holder == holder)
                .values(holder=None, job_id=None)
                .returning(ChipLease.chip_id)
            )
        )

    def get(self, chip_id: str) -> ChipLease | None:
        """Return the chip's lease, held or free; None for a chip that is not known."""
        return self._session.scalar(select(ChipLease).where(ChipLease.chip_id == chip_id))
