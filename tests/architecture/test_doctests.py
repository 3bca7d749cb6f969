"""Every example in a docstring of the package gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import repro

MODULES = ["repro", *(module.name for module in pkgutil.walk_packages(repro.__path__, "repro."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_modules_with_examples_are_among_them():
    assert {"repro.stats", "repro.geometry.graph", "repro.training.svm", "repro.workflow.sweep"} <= set(MODULES)
