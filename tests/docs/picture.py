"""Draws docs/status.svg, the picture in README: its status table, in colours.

``python -m tests.docs.picture``
"""

from __future__ import annotations

import subprocess
import sys

from tests.docs.newcomer import ROOT, newcomer
from tests.docs.scenes import README, SCENES

PICTURE = ROOT / "docs/status.svg"


def main() -> None:
    """Write it."""
    with newcomer() as someone:
        SCENES[README, "3. Poll"](someone)
        someone.type("env -u NO_COLOR script -qefc 'stty cols 160; agentctl status' ~/typescript")
        lines = (someone.home / "typescript").read_text().replace("\r\n", "\n").splitlines()
        shown = someone.named("\n".join(line for line in lines if not line.startswith("Script ")))
    draw = [sys.executable, str(ROOT / "scripts/terminal_svg.py"), "agentctl status"]
    PICTURE.write_text(subprocess.run(draw, input=shown, text=True, capture_output=True, check=True).stdout)


if __name__ == "__main__":
    main()
