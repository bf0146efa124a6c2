"""A process that imports everything once and forks a child for every attempt at a run, to be killed or not.

One request a line comes in, one answer a line goes out: see `attempt`. test_killed_runs.py starts it.
"""

import json
import os
import signal
import sys
import time

import torch

from ssm_zoo import plots
from ssm_zoo.layers import LRU, S4, S4D, S5, Mamba, Mamba2
from ssm_zoo.tasks import Text, load_task
from ssm_zoo.tasks.text import windows
from ssm_zoo.training import RunFolder, TrainConfig, loop, sample, train

ON_FILES = ("open", "os.rename", "os.remove", "os.mkdir")


def prepare():
    """Load what every run needs: no backward pass and no second thread, or the children could not live."""
    torch.set_num_threads(1)
    digits, letters = load_task("digits"), torch.tensor(list(b"def f(x):\n    return x\n\n\n" * 60), dtype=torch.uint8)
    text = Text("bytes", 16, letters, windows(letters, 16, 20), windows(letters, 16, 7))
    loop.load_task = lambda name, *_: text if name == "bytes" else digits
    sample.LENGTH = 5
    plots.save = lambda figure, file: file  # the slowest part of a short run
    with torch.no_grad():
        for layer in (LRU(4, 8), S4(4, 8), S4D(4, 8), S5(4, 8), Mamba(4, 8), Mamba2(32, 8)):
            layer(torch.ones(2, 16, layer.d_model))
    assert len(os.listdir("/proc/self/task")) == 1, "a second thread would be missing in the children"


def attempt(config, folder, word="", count=0, delay=0.0):
    """Let a child train, and kill it once it has told a word so many times, and a while has passed.

    Parameters
    ----------
    config, folder
        What `train` is called with.
    word, count, delay
        The word that is waited for, how often, and seconds; no word lets the child live. A child told "file" kills
        itself, right before it touches its so-manieth file.

    Returns
    -------
    dict
        How the child ended, and what it told, each word with the seconds that had passed.
    """
    begun, told, (reading, writing) = time.perf_counter(), [], os.pipe()
    child = os.fork()
    if not child:
        live(config, folder, writing, count if word == "file" else 0)
    os.close(writing)
    with os.fdopen(reading) as words:
        for line in words:
            told.append((line.strip(), time.perf_counter() - begun))
            if told[-1][0] == word != "file" and [one for one, _ in told].count(word) == count:
                time.sleep(delay)
                os.kill(child, signal.SIGKILL)
    return {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "told": told}


def live(config, folder, pipe, last_file):
    """Train, tell on the way, and end the process."""

    def tell(word):
        os.write(pipe, f"{word}\n".encode())

    def on_file(event, args, seen=[0]):  # noqa: B006
        if event in ON_FILES and str(args[0]).startswith(folder):
            seen[0] += 1
            tell("file")
            if seen[0] == last_file:
                os.kill(os.getpid(), signal.SIGKILL)

    def save(run, *args, whole=RunFolder.save):
        tell("saving")
        whole(run, *args)
        tell("saved")

    def progress(event):
        tell("step")
        if event.cuts:
            tell("cut")

    signal.alarm(300)  # a child that hangs dies of something else
    RunFolder.save = save
    sys.addaudithook(on_file)
    status = 1
    try:
        tell("begin")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
        train(TrainConfig(**values), folder, progress=progress)
        status = 0
    finally:
        sys.excepthook(*sys.exc_info()) if status else None
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    prepare()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(attempt(**json.loads(line))) + "\n")
        sys.stdout.flush()
    os._exit(0)  # to tidy up takes seconds
