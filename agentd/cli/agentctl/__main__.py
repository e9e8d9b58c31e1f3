"""``python -m agentd.cli.agentctl``."""

import sys

from agentd.cli.agentctl.entry import main

sys.exit(main())
