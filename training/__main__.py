"""`python -m training`: the command line.

It stands alone so that `training.cli` can be imported without running anything.
"""

import sys

from training.cli import main

sys.exit(main())
