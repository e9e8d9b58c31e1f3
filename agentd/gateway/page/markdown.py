"""Markdown of agents as HTML that does nothing: no HTML of theirs, no scripts, no pictures from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

LONGEST: Final = 256 << 10
"""Characters of a text that is parsed, which takes 0.3 s; a longer one stays as it is."""


def html_of(text: str) -> str:
    """Give the HTML of a text."""
    if len(text) > LONGEST:
        return f"<pre>{escape(text)}</pre>"
    return str(_parser().render(text))


@cache
def _parser() -> MarkdownIt:
    # The parser itself refuses javascript:, vbscript:, file: and data: in links.
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.disable("image")
    parser.add_render_rule("link_open", _link)
    return parser


def _link(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, _environment: EnvType
) -> str:
    """Open a link elsewhere, and tell that place nothing of this page."""
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    tokens[index].attrSet("target", "_blank")
    return renderer.renderToken(tokens, index, options, {})
