"""What a probe says of the accuracy that a chip has lost, with what evaluations taught since."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from ltl_core.calibration.prediction import (
    Correction,
    LossCurve,
    Observation,
    Outcome,
    Prediction,
    correction,
    predicted_loss,
)
from service.db.repositories.fingerprints import FingerprintRepository, ProbeOutcome
from service.db.repositories.students import StudentRepository
from service.db.tables import WeightVersion
from service.jobs.messages import Json

OBSERVED = "observed_loss"  # in the answer of a probe, and in a version's fingerprint
_OUTCOMES = 200  # newest ones of a student that count


def predict(
    session: Session, version: WeightVersion, score: float | None, answer: Json
) -> Prediction | None:
    """Predict the loss since publication; None without a score or the student's loss curve."""
    stored = StudentRepository(session).get(version.student_id).loss_curve
    if score is None or stored is None:
        return None
    curve = LossCurve.from_json(stored)
    learned = learned_correction(session, curve, version)
    return predicted_loss(curve, score, learned, _observed(version, answer))


def learned_correction(session: Session, curve: LossCurve, version: WeightVersion) -> Correction:
    """Return what evaluations of chips with the version's student change in its loss curve."""
    found = FingerprintRepository(session).outcomes(version.student_id, _OUTCOMES)
    own = [one for one in found if one.chip_id == version.chip_id]
    fleet = [one for one in found if one.chip_id != version.chip_id]

    def outcomes(of: Iterable[ProbeOutcome]) -> list[Outcome]:
        return [Outcome(curve.points_at(one.score), one.lost_points) for one in of]

    return correction(curve, outcomes(fleet), outcomes(own))


def prediction_json(prediction: Prediction | None) -> Json | None:
    """Return a prediction as the API shows it, in hundredths of a point."""
    if prediction is None:
        return None
    return {name: round(value, 2) for name, value in prediction._asdict().items()}


def _observed(version: WeightVersion, answer: Json) -> Observation | None:
    """Return the loss that the probe observed since publication, where both observed it."""
    then, now = ((one or {}).get(OBSERVED) for one in (version.fingerprint, answer))
    if then is None or now is None:
        return None
    return Observation.from_json(now).since(Observation.from_json(then))
