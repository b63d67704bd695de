"""What every page is made with: one HTML file that asks nobody for anything.

Style sheets and scripts are inlined, a content security policy forbids all scripts but these, and whatever a template
is handed is escaped. Data for the scripts is inert JSON (`answers.embed`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from tunewright import __version__
from tunewright.artifacts.files import write_text
from tunewright.reports import answers, words

FILTERS = ("count", "metric_label", "moment", "p_value", "percent", "plural", "points", "significant", "took")
"""functions of `words` that templates use"""


def render_page(template: str, *, styles: Sequence[str], scripts: Sequence[str], data: Any, **values: Any) -> str:
    """Return a page as HTML.

    Args:
        template: file name of the Jinja template in this folder.
        styles: file names of its style sheets, in order.
        scripts: file names of its scripts, in order; they become one.
        data: what the scripts read, plain JSON values.
        **values: what the template shows.
    """
    script = "\n".join(map(_resource, scripts))
    return _template(template).render(
        version=__version__,
        style=Markup("\n".join(map(_resource, styles))),
        script=Markup(script),
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(answers.embed(data)),
        **values,
    )


def write_page(path: Path, html: str) -> Path:
    """Write a page and return its path.

    Raises:
        RunFolderError, EnvironmentProblem: it cannot be written there.
    """
    # A model can emit half a surrogate pair, which has no UTF-8: it becomes a question mark.
    write_text(path, html.encode("utf-8", "replace").decode("utf-8"))
    return path


def _resource(name: str) -> str:
    return resources.files("tunewright.reports").joinpath(name).read_text(encoding="utf-8")


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["interval"] = words.interval
    environment.filters.update({name: getattr(words, name) for name in FILTERS}, ticks=_ticks)
    return environment.from_string(_resource(name))


def _ticks(text: str) -> Markup:
    """Escape `text` and set what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))
