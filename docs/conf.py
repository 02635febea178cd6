"""How the documentation is built: `make docs`, or python -m sphinx -W -b html docs out/docs. Offline, without LaTeX."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from links import linkcode_resolve  # noqa: F401  (Sphinx looks for this name)

from mezzotint import __version__

project, author, release = "Mezzotint", "The Mezzotint maintainers", __version__
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.linkcode",
    "maths",
    "units",
    "docstrings",
    "links",
    "generated",
    "live",
]
exclude_patterns = ["extensions"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
smartquotes = False  # `--data` is no dash
highlight_language = "text"

autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_use_type_comments = False  # there are none, and looking for them takes time
autodoc_inherit_docstrings = False  # PyTorch says much about `forward`
python_maximum_signature_line_length = 80
add_module_names = False
toc_object_entries = False

html_theme = "furo"
html_title = f"Mezzotint {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["mezzotint.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_use_index = html_domain_indices = False  # there is a search
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
