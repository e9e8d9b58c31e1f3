"""What may be shown to a person as it is."""

from __future__ import annotations

import re


def harmless(text: str) -> bool:
    """Whether text is one line that holds nothing a terminal acts on or an eye misses.

    Unicode counts the two joiners as not printable, but Persian and Indic words and emoji are misspelt without them, so
    they are shown behind a character beyond ASCII.
    """
    return re.sub("(?<=[^\x00-\x7f])[\u200c\u200d]", "", text).isprintable()
