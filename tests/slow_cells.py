"""Cells for the sweep tests, in a module that worker processes can import."""

import os
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
