import signal

import pytest


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C interrupt, as it does at a terminal; a process that a script starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
