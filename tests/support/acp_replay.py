"""An agent of the Agent Client Protocol as it was recorded: says what it said, once it hears what it heard.

Argument: a file of lines ``{"dir": "in"|"out", "m": MESSAGE}``; ``out`` is what the client sent.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Replay the file."""
    ids: dict[object, object] = {}
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        step = json.loads(line)
        recorded = step["m"]
        if step["dir"] == "out":
            heard = json.loads(sys.stdin.readline())
            if heard.get("method") != recorded.get("method") or heard.get("result") != recorded.get("result"):
                raise SystemExit(f"expected {recorded}, heard {heard}")
            ids[recorded.get("id")] = heard.get("id")
            continue
        if "method" not in recorded:
            recorded["id"] = ids[recorded["id"]]
        sys.stdout.write(json.dumps(recorded) + "\n")
        sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
