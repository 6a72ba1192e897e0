"""Where the console command starts: until stops are heeded nothing is begun, so that Ctrl-C ends the process at once,
as the system ends any program, and not by Python's traceback. `_signal` is built in, `signal` takes milliseconds.
"""

import _signal  # type: ignore[import-not-found]  # isort: skip

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from gte_surgery.cli.entry import main

__all__ = ["main"]
