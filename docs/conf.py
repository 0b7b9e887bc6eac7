"""How Sphinx builds the site: `make docs`. The pages are the Markdown files beside this one, as they are."""

import os
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

project = "keras_resnets"
author = "the authors of keras_resnets"
project_copyright = "the authors of keras_resnets, under the licence Apache-2.0"
release = version = metadata.version("keras_resnets")
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "links",
    "gallery",
]
root_doc = "index"
exclude_patterns = ["_build"]
templates_path = ["_templates"]
nitpicky = False

# Text. Single backquotes are code, in Markdown and in docstrings; indented blocks are commands.
default_role = "code"
smartquotes = False
highlight_language = "shell"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"

# The reference: a page for each name that api.md lists; `tests/test_site.py` holds that these are all.
autosummary_generate = True
autosummary_ignore_module_all = False
toc_object_entries = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Of one call", "notes")]

# How it looks.
html_theme = "pydata_sphinx_theme"
html_title = "keras_resnets"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "keras_resnets", "image_light": "_static/logo.svg", "image_dark": "_static/logo.svg"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_depth": 3,
    "header_links_before_dropdown": 7,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Pages without others below them.
html_sidebars = {"index": [], "start": [], "results": []}
