"""The golden students of the benchmark of robustness, with their teachers and samples."""

import argparse
from typing import NamedTuple

from benchmarks.datasets import default_folder
from benchmarks.learning import some_of
from benchmarks.tasks import tasks
from benchmarks.teachers import scaled, shown, teacher_of
from ltl_core.settings import RuleName
from ltl_core.student.evaluate import student_quality
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.live import LiveTargets
from ltl_core.teaching.targets import Samples, Targets, TargetSet
from ltl_core.training.training import Training

POOL = 500  # training images that a calibration may choose its samples from


class Task(NamedTuple):
    """What the chips of one seed share."""

    student: Student
    taught: Targets  # training images with labels and the teacher's rates
    pool: TargetSet
    test: TargetSet
    golden: float  # accuracy of the student on the test images, %


def make_task(name: str, seed: int, options: argparse.Namespace) -> Task:
    """Train teacher and golden student of this seed, or read them from the folder of students.

    Raises MissingDataError if the images are not on this machine.
    """
    task, split = tasks()[name], tasks()[name].load(default_folder())
    if options.teacher_epochs is not None:
        task = task._replace(recipe=task.recipe._replace(epochs=options.teacher_epochs))
    if options.train_images is not None:  # a name of its own in the folder
        split = split._replace(train=some_of(split.train, options.train_images))
        task = task._replace(name=f"{name}-{options.train_images}")
    train = shown(split.train, task.scaling)
    teacher = scaled(teacher_of(task, split, seed, options.students), train, 99.9)
    taught = LiveTargets(teacher, train)
    kept = options.students and options.students / f"student-{task.name}-{seed}.safetensors"
    if kept is not None and kept.is_file():
        student = Student.from_block(kept.read_bytes())
    else:
        settings = task.settings(RuleName.LTL_OFFLINE, seed)
        training = Training(teacher.network, teacher.weights, taught, settings)
        for _ in training.epochs():
            pass
        student = training.student
        if kept is not None:
            kept.write_bytes(student.to_block())
    test = shown(some_of(split.test, min(options.test_images, split.test.size)), task.scaling)
    return task_of(student, taught, test)


def task_of(student: Student, taught: Targets, test: Samples) -> Task:
    """Return the task of a golden student, with its own rates and outputs as targets."""
    inputs = taught.samples.inputs[:POOL]
    measured = golden_targets(student, test)
    golden = 100 * student_quality(student, measured).accuracy
    return Task(student, taught, golden_targets(student, Samples(inputs, None)), measured, golden)
