"""Sphinx configuration."""

import bci

project = "bci"
author = "the bci maintainers"
copyright = "2026, the bci maintainers"
version = release = bci.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
html_theme = "furo"
autosummary_generate = True
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "none"
napoleon_google_docstring = False
exclude_patterns = ["_build"]
suppress_warnings = ["myst.xref_missing", "ref.python", "ref.ref", "ref.term", "docutils"]
