"""Run as a file by an isolated interpreter, which finds agentd by nothing else."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from agentd.acp.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
