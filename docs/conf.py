"""How the documentation is built: `sphinx-build -W -n --keep-going docs build/docs`. The network is not needed."""

import sys
from pathlib import Path

import django
from django.conf import settings

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

settings.configure(
    USE_TZ=True,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "dataqueue_django",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

import dataqueue_django  # noqa: E402 - its modules need the settings above

project = "dataqueue_django"
author = "dataqueue_django contributors"
copyright = author
version = release = dataqueue_django.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "dataqueue_docs.extension"]
root_doc = "index"
exclude_patterns = ["_ext", "_static"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

smartquotes_action = "qe"  # quotes and ellipses; two hyphens begin an option here
default_role = "code"  # docstrings write `name` as Markdown does
add_module_names = False
python_use_unqualified_type_names = True
autodoc_mock_imports = ["hypothesis", "pytest"]  # the contract is made of tests; its page needs neither
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# What the package exports has to have a page. Types of Python and Django have none here, nor have the insides of ours.
exported = "|".join(rf"{name}|{home}.{name}" for name, home in dataqueue_django._HOMES.items()).replace(".", r"\.")
nitpick_ignore_regex = [("py:.*", rf"(?!dataqueue_django\.({exported})$).*")]

html_theme = "furo"
html_title = f"dataqueue_django {release}"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "tango"
pygments_dark_style = "monokai"
