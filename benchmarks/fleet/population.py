"""A large fleet in PostgreSQL, made by SQL statements: chips, agents, policies, jobs.

What stands in the rows is what the service writes: infos of real presets, requests as they are
accepted, results of the size of real ones. Of the jobs four of five are probes; one in a hundred
chips has ten times as many as the others. The newest jobs wait or
run: they are somebody's, not the planner's.
"""

import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from sqlalchemy import Connection, text

from benchmarks.job_latency import NETWORK
from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.calibration.drift import measure_fingerprint
from ltl_core.chip import LayerSettings, Placement
from ltl_core.chip_info import info_to_json
from ltl_core.settings import CalibrationSettings
from service.jobs.kinds.calibrate import CalibrateRequest
from service.jobs.kinds.probe import ProbeRequest
from service.version import code_version

PRESETS = ("pcm", "hermes", "reram", "harsh")
SECONDS_APART = 7.776  # between two jobs: a million of them are 90 days
_ID = "00000000-0000-7000-8000-000000000000"


class Size(NamedTuple):
    """Number of chips and jobs."""

    chips: int
    jobs: int
    waiting: int  # of the newest jobs
    running: int

    @property
    def ended(self) -> int:
        return self.jobs - self.waiting - self.running


def populate(connection: Connection, size: Size) -> None:
    """Fill migrated, empty tables, and analyse them as the server's own housekeeping does."""
    for statement, values in _statements(size):
        connection.execute(text(statement), values)
    connection.commit()


def fingerprint() -> dict[str, Any]:
    """Fingerprint of a chip with the benchmark's network."""
    chip = make_chip("bench", preset("pcm"), 1)
    settings = LayerSettings(threshold=120.0, decay=0.9, window=30.0, full_scale=480.0)
    stages = NETWORK.stages
    chip.place(Placement(NETWORK, {stage.name: settings for stage in stages}, 1.0))
    rng = torch.Generator().manual_seed(1)
    for stage in stages:
        chip.program(stage.name, torch.randint(-40, 44, (stage.columns, stage.rows), generator=rng))
    return measure_fingerprint(chip).to_json()


def _statements(size: Size) -> Iterator[tuple[str, dict[str, Any]]]:
    """List the statements that fill the tables, parents first."""
    counts = size._asdict() | {"ended": size.ended, "apart": SECONDS_APART}
    yield "SET synchronous_commit = off", {}
    yield "SET session_replication_role = replica", {}  # what refers to what is right as it is made
    yield _ID_AT, {}
    yield _TEACHING, {"network": NETWORK.model_dump_json(), "version": code_version()}
    yield _CHIPS, {"chips": size.chips, "infos": json.dumps([_info(name) for name in PRESETS])}
    yield _AGENTS, {}
    yield _LEASES, {}
    yield _POLICIES, {"settings": _text(CalibrationSettings())}
    yield _JOBS, counts | _templates()
    yield _HELD, {}
    yield _EXECUTORS, {"running": size.running}
    answer = len(zlib.compress(json.dumps(fingerprint()).encode()))
    yield _FINGERPRINTS, {"answers": answer // 16}
    for table in ("chips", "agents", "chip_leases", "policies", "jobs", "fingerprints"):
        yield f"ANALYZE {table}", {}


def _info(name: str) -> dict[str, Any]:
    return info_to_json(make_chip("bench", preset(name), 1).info)


def _text(model: Any) -> str:
    return str(model.model_dump_json())


def _templates() -> dict[str, str]:
    """Requests, results and progress of the two kinds, as JSON text."""
    settings = CalibrationSettings()
    calibrate = CalibrateRequest(
        kind="calibrate", chip_id=_ID, student_id=_ID, settings=settings, priority=8
    )
    accuracy = {"teacher": 0.986, "golden": 0.985, "before": 0.722, "after": 0.978}
    errors = [0.1473, 0.2191, 0.3221]
    spent = {"samples": 4000, "cell_writes_per_cell": 4.2, "seconds": 14.213}
    calibrated = {
        "accuracy": accuracy,
        "recovered_fraction": 0.973,
        "rate_error": {"before": errors, "after": errors},
        "ended_by": "budget:samples",
        "published": True,
        "rule": settings.rule,
        "observable": settings.observable,
        "health": "good",
        "chip_time_s": 1234567.89,
        "fingerprint": fingerprint(),
        "spent": spent,
        "weights_version": 7,
    }
    probed = {"version": 7, "score": 0.731, "health": "good", "chip_time_s": 1234567.89}
    progress = {"phase": "after", "step": 1, "steps": 1, "accuracy": 0.978, "rate_error": errors}
    return {
        "calibrate": _text(calibrate),
        "calibrated": json.dumps(calibrated),
        "probe": _text(ProbeRequest(kind="probe", chip_id=_ID, priority=8)),
        "probed": json.dumps(probed),
        "progress": json.dumps(progress),
        "spent": json.dumps(spent),
        "version": code_version(),
    }


# A UUIDv7: the time in ms, then at random.
_ID_AT = r"""
CREATE FUNCTION pg_temp.id_at(at timestamptz) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT substr(t, 1, 8) || '-' || substr(t, 9, 4) || '-7' || substr(r, 1, 3) || '-a'
         || substr(r, 4, 3) || '-' || substr(r, 7, 12)
  FROM (SELECT lpad(to_hex(floor(extract(epoch FROM at) * 1000)\:\:bigint), 12, '0') AS t,
               replace(gen_random_uuid()\:\:text, '-', '') AS r) AS parts
$$
"""

_TEACHING = f"""
WITH teacher AS (
  INSERT INTO teachers (id, name, network, weights_sha256, created_at)
  VALUES ('{_ID}', 'digits', CAST(:network AS json), repeat('a', 64), now() - interval '91 days')
  RETURNING id
), target_set AS (
  INSERT INTO target_sets (id, name, teacher_id, state, chunks, percentile, created_at)
  SELECT id, 'digits', id, 'ready', 2, 99, now() - interval '91 days' FROM teacher RETURNING id
), trained AS (
  INSERT INTO jobs (id, kind, status, request, teacher_id, target_set_id, priority, attempt,
                    created_at, ended_at, code_version)
  SELECT id, 'train', 'succeeded', '{{}}', id, id, 5, 1, now() - interval '91 days',
         now() - interval '91 days', :version FROM target_set RETURNING id
)
INSERT INTO students (id, teacher_id, target_set_id, job_id, rule, accuracy, sha256, created_at)
SELECT id, id, id, id, 'ltl-offline', '{{"golden": 0.985}}', repeat('b', 64),
       now() - interval '91 days' FROM trained
"""

_CHIPS = """
INSERT INTO chips (id, name, backend, settings, info, health, accuracy, drift_score,
                   version_in_force, created_at, retired_at)
SELECT pg_temp.id_at(now() - interval '91 days' + n * interval '1 second'),
       'chip-' || lpad(n::text, 6, '0'), 'http', '{}', CAST(:infos AS json) -> (n % 4),
       CASE WHEN n % 50 = 0 THEN 'retired' WHEN n % 20 = 7 THEN 'drifting'
            WHEN n % 100 = 3 THEN 'bad' ELSE 'good' END,
       0.9 + 0.08 * random(), 1.2 * random(), 1 + n % 9,
       now() - interval '91 days' + n * interval '1 second',
       CASE WHEN n % 50 = 0 THEN now() - interval '10 days' END
FROM generate_series(1, :chips) AS n
"""

_AGENTS = """
INSERT INTO agents (id, chip_id, url, secret, version, limits, registered_at, heartbeat_at,
                    alive_until)
SELECT gen_random_uuid()::text, id, 'http://' || name || '.bench.example:8777', repeat('s', 43),
       '0.1.0', '{"answer_s": 300.0, "reach_s": 30.0}', created_at, now(),
       CASE WHEN substr(name, 9) = '13' THEN now() - interval '1 day'
            ELSE now() + interval '1 day' END
FROM chips
"""

_LEASES = """
INSERT INTO chip_leases (chip_id, token, expires_at)
SELECT id, 100, now() - random() * interval '1 day' FROM chips
"""

_POLICIES = """
INSERT INTO policies (chip_id, enabled, probe_every_s, calibrate_at_score, pause_s, settings,
                      priority, jobs, probe_due_at, due_at, created_at, updated_at)
SELECT id, retired_at IS NULL, 86400, 0.8, 3600, CAST(:settings AS json), 8, 0, due,
       CASE WHEN retired_at IS NULL THEN due END, created_at, created_at
FROM (SELECT chips.*, now() + (random() - 0.02) * interval '1 day' AS due FROM chips) AS chips
"""

# Number i of the jobs ended long ago; those after :ended are open. A chip is drawn for each.
_JOBS = f"""
WITH numbered AS (
  SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM chips
), drawn AS (
  SELECT i, now() - (:jobs - i) * :apart * interval '1 second' AS at, random() AS kind,
         random() AS fate, random() AS secs,
         CASE WHEN random() < 0.1 THEN floor(random() * :chips / 100)::int
              ELSE floor(random() * :chips)::int END AS place
  FROM generate_series(1, :jobs) AS i
)
INSERT INTO jobs (id, kind, status, reason, request, teacher_id, target_set_id, student_id, chip_id,
                  progress, spent, result, weights_in_force, priority, key_id, turn, called_at,
                  attempt, token, executor_id, created_at, started_at, ended_at, code_version)
SELECT pg_temp.id_at(at),
       CASE WHEN kind < 0.8 THEN 'probe' ELSE 'calibrate' END,
       CASE WHEN i > :ended + :waiting THEN 'running' WHEN i > :ended THEN 'queued'
            WHEN fate < 0.97 THEN 'succeeded' WHEN fate < 0.99 THEN 'failed' ELSE 'cancelled' END,
       CASE WHEN i <= :ended AND fate BETWEEN 0.97 AND 0.99
            THEN 'Chip chip-000001 is unavailable: its agent cannot be reached.' END,
       CAST(CASE WHEN kind < 0.8 THEN :probe ELSE :calibrate END AS json),
       '{_ID}', '{_ID}', '{_ID}', numbered.id,
       CASE WHEN i <= :ended AND kind >= 0.8 THEN CAST(:progress AS json) END,
       CASE WHEN i <= :ended AND kind >= 0.8 THEN CAST(:spent AS json) END,
       CASE WHEN i <= :ended AND fate < 0.97
            THEN CAST(CASE WHEN kind < 0.8 THEN :probed ELSE :calibrated END AS json) END,
       7, 8, CASE WHEN i > :ended OR kind > 0.95 THEN '{_ID[:-1]}' || i % 5 END,
       (i <= :ended OR i > :ended + :waiting)::int,
       CASE WHEN i <= :ended OR i > :ended + :waiting THEN at END,
       (i <= :ended OR i > :ended + :waiting)::int, 100, 'worker-' || i % 40, at,
       CASE WHEN i <= :ended OR i > :ended + :waiting THEN at + interval '1 second' END,
       CASE WHEN i <= :ended THEN at + (2 + 20 * secs) * interval '1 second' END, :version
FROM drawn JOIN numbered USING (place)
ORDER BY i
"""

_HELD = """
UPDATE chip_leases SET holder = jobs.executor_id, job_id = jobs.id,
                       expires_at = now() + interval '1 day'
FROM jobs WHERE jobs.chip_id = chip_leases.chip_id AND jobs.status = 'running'
"""

# They live; each has one slot more than it uses.
_EXECUTORS = """
INSERT INTO executors (id, heartbeat_at, slots)
SELECT 'worker-' || n, now() + interval '1 day', 2 FROM generate_series(1, :running) AS n
"""

# The last thirty probes of each chip; an answer is as long as a real one, compressed.
_FINGERPRINTS = """
INSERT INTO fingerprints (id, chip_id, job_id, version, answer, score, chip_time_s, created_at)
SELECT gen_random_uuid()::text, chip_id, id, 7, decode(repeat(md5(id), :answers), 'hex'), random(),
       1234567.89, ended_at
FROM (SELECT *, row_number() OVER (PARTITION BY chip_id ORDER BY id DESC) AS age FROM jobs
      WHERE kind = 'probe' AND status = 'succeeded') AS probes
WHERE age <= 30 ORDER BY id
"""
