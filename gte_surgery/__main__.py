"""`python -m gte_surgery` is `gte-surgery`, and takes no module from the working directory either."""

import os
import sys

if not getattr(sys.flags, "safe_path", False) and sys.path[:1] in ([""], [os.getcwd()]):
    del sys.path[0]  # what `python -m` put there; what PYTHONPATH names stays

from gte_surgery.cli.start import main

main()
