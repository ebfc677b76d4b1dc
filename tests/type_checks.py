"""Check types and shapes at run time: a pytest plugin that holds the checker.

`--jaxtyping-packages` in pyproject.toml names it. An int may stand for a float, as in PEP 484.
"""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
