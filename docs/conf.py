"""How the documentation is built: ``sphinx-build -W -n -b html docs build/docs``.

No step needs a network, nor do the pages.
"""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))  # this checkout, whatever is installed

project = author = html_title = "ordo"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_inherit_docstrings = False  # of Lightning, whose docstrings take more than Sphinx
python_maximum_signature_line_length = 90
python_display_short_literal_types = True

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_dmath_double_inline = True  # $$ in the middle of a paragraph, as notebooks write it
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_output_stderr = "remove-warn"

# Types of other libraries: to link them would take their inventories, from the network.
OTHERS = "torch|torchdata|Tensor|nn|lightning|L|numpy|np|pandas|pd|datasets|"
OTHERS += "transformers|omegaconf|matplotlib|collections|typing|pathlib|inspect"
# Types of the library that only signatures name.
INNER = "C|Race|FreshDraws|FreshPuzzles|RandomCrops|Decoding|CategoricalColumn|NumericColumn|Past|T"
INNER += "|SizedDataset|Options|Summary|Around|TimeTerms|Beside|Own|TrainSteps"
nitpick_ignore_regex = [
    ("py:.*", rf"({OTHERS})(\..*)?"),
    ("py:class", rf"ordo\..*\.({INNER})|Session|RowSource"),
]


def copies_of(name: str, *patterns: str) -> Path:
    """Copies files of ../name to a folder of that name here, which git ignores."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in (path for pattern in patterns for path in (HERE.parent / name).glob(pattern)):
        shutil.copy(path, folder)
    return folder


def copy_notebooks() -> None:
    """Copies ../notebooks/*.ipynb and writes a page that lists them."""
    folder = copies_of("notebooks", "*.ipynb")
    lines = [
        "# Notebooks",
        "",
        "Executed when these pages are built, at a small size; they are `notebooks/*.ipynb`.",
        "",
    ]
    names = sorted(path.name for path in folder.iterdir())
    lines += ["```{toctree}", ":maxdepth: 1", "", *names, "```", ""] if names else []
    (folder / "index.md").write_text("\n".join(lines), encoding="utf-8")


def copy_studies() -> None:
    """Copies ../benchmarks: the README becomes the page that lists all others."""
    folder = copies_of("benchmarks", "*.md", "*.png")
    text = (folder / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").unlink()
    toctree = "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"
    (folder / "index.md").write_text(text + toctree, encoding="utf-8")


def mathml(node: nodes.Element, as_block: bool) -> str:
    try:
        written = tex2mathml(
            node.astext().replace(r"\dots", r"\ldots"), as_block=as_block
        )  # docutils knows only these
    except MathError as error:
        logging.getLogger(__name__).warning("%s", error, location=node)
        return ""
    return written.replace(
        "<mo>&ApplyFunction;</mo>", '<mspace width="0.17em"/>'
    )  # log x, not logx


def inline(self: Any, node: nodes.math) -> None:
    self.body.append(mathml(node, False))
    raise nodes.SkipNode


def block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{mathml(node, True)}</div>')
    raise nodes.SkipNode


def sentences(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Lets napoleon take the docstring of a property as it is.

    It would read what comes before a colon as a type.
    """
    if what in ("property", "attribute") and lines:
        lines.insert(0, "\\")  # renders as nothing


def without_ranges(signature: str) -> str:
    """``Annotated[int, ...]`` as ``int``: how a range is stored says nothing to a reader."""
    while (found := re.search(r"(~?[\w.]+\.)?Annotated\[", signature)) is not None:
        depth, comma = 0, None
        for end in range(found.end(), len(signature)):
            depth += (signature[end] in "[(") - (signature[end] in "])")
            if depth == 0 and signature[end] == "," and comma is None:
                comma = end
            if depth < 0:
                break
        signature = (
            signature[: found.start()] + signature[found.end() : comma] + signature[end + 1 :]
        )
    return signature


def signatures(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> Any:
    """Types without their ranges, and defaults that are made afresh as ``...`` for Sphinx."""
    return signature and without_ranges(signature).replace("<factory>", "..."), returns


def setup(app: Sphinx) -> None:
    # MathJax comes from the network. Browsers know MathML, and docutils writes it.
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("autodoc-process-docstring", sentences, priority=0)  # before napoleon
    app.connect("autodoc-process-signature", signatures)
    copy_notebooks()
    copy_studies()
