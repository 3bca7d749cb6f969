"""Cells for the sweep tests, in a module that worker processes can import."""

import os
import signal
import time


def square(*, number, log=""):
    if log:
        with open(log, "a") as file:
            file.write(f"{number}\n")
    return [
        {"number": number, "square": number**2, "third": number / 3},
        {"number": number, "square": -1, "third": None},
    ]


def fragile(*, number, broken):
    if number in broken:
        raise ArithmeticError(f"cannot take {number}")
    return [{"number": number}]


def threads(*, number):
    import torch

    time.sleep(0.05)
    return [{"number": number, "threads": torch.get_num_threads(), "pid": os.getpid()}]


def sleepy(*, number, seconds):
    time.sleep(seconds)
    return [{"number": number, "pid": os.getpid()}]


def deadly(*, number, seconds):
    """Its process ends as an out-of-memory kill would end it, for one of its numbers."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return sleepy(number=number, seconds=seconds)


def mortal(*, number, mark):
    """The first time that it comes to one of its numbers, its process ends."""
    if number == 20 and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number=number)


def returning(*, what):
    return {"a": 1} if what == "a dictionary" else [{"a": 1}]


def placed(*, number, device="auto"):
    return [{"where": device, "number": number}]
