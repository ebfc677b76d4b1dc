"""Settings of the documentation site, which `make docs` builds with Sphinx, offline."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_extensions")]

project = "Tandemcal"
version = release = installed_version("tandemcal")
copyright = "the Tandemcal maintainers"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "docstrings",
    "http_reference",
    "notebooks",
]
exclude_patterns = ["_build", "_extensions"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"Tandemcal {version}"
html_static_path = ["_static"]
html_css_files = ["tandemcal.css"]
html_copy_source = False
html_show_sourcelink = False
