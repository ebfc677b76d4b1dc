"""The child process that writes a student as a NIR file: it loads torch, the service does not."""

from pathlib import Path

STUDENT, NIR, REFUSAL, MISSING = "student.safetensors", "student.nir", "refusal", "missing"


def main(folder: str) -> None:
    """Read the student in a folder; write its NIR file there, or why there is none."""
    within = Path(folder)
    try:
        import nir

        from ltl_core.interop.to_nir import to_nir
    except ModuleNotFoundError as error:
        (within / MISSING).write_text(str(error.name))
        return
    from ltl_core.errors import SettingError, UnsupportedLayerError
    from ltl_core.student.student import Student

    try:
        graph = to_nir(Student.from_block((within / STUDENT).read_bytes()))
    except (SettingError, UnsupportedLayerError) as error:
        (within / REFUSAL).write_text(str(error))
        return
    nir.write(within / NIR, graph)
