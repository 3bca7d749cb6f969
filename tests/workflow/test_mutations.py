"""Edits of committed results that `repro verify` has to see: every column, every measurement, every parameter.

`pytest tests/test_mutations.py -rP` prints how many were tried and seen, by notebook.
"""

import copy
import functools
import io
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from repro.workflow import verify
from repro.workflow.project import PACKAGE, Project

PROJECT = Project(PACKAGE.parent)
NOTEBOOKS = [path.stem for path in PROJECT.all_notebooks()]
KINDS = ("number", "text", "table", "measurement", "parameter", "figure")


@pytest.fixture(autouse=True)
def parsed_once(monkeypatch):
    """A committed file is parsed at its first reading, and an edited table, which is no file, never."""
    parse = functools.cache(verify.parse_table)
    monkeypatch.setattr(
        verify, "parse_table", lambda said, name: parse(said, name) if isinstance(said, bytes) else said
    )


class Results(dict):
    """Results of one run in memory, by file name: what the files say, or an edited table."""

    def read(self, name: str) -> bytes | pd.DataFrame | None:
        return self.get(name)

    @property
    def record(self) -> dict:
        return json.loads(self["results.json"])

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(io.BytesIO(self[name]))

    def edited(self, record: dict | None = None, **tables: pd.DataFrame) -> "Results":
        changed = {f"{name}.csv": table.reset_index(drop=True) for name, table in tables.items()}
        return Results(self | ({"results.json": json.dumps(record).encode()} if record else {}) | changed)


def committed(notebook: str) -> Results:
    folder = PROJECT.figures / "laptop" / notebook
    return Results({path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".csv", ".json")})


def only(results: Results, figure: str) -> Results:
    """The results with one figure, so that each edit is compared quickly."""
    record = results.record
    record["figures"] = [known for known in record["figures"] if known["name"] == figure]
    return Results({"results.json": json.dumps(record).encode(), f"{figure}.csv": results[f"{figure}.csv"]})


def differences(fresh: Results, reference: Results) -> list[verify.Difference]:
    return verify.compare(fresh, reference).differences


# --- the edits ---


def edits_of_numbers(column: pd.Series) -> Iterator[pd.Series]:
    """Wrong signs, other rows' values, a millionth more, everything alike, a lost value, noise of the same spread."""
    values = column.astype(float)
    known = values[np.isfinite(values)]
    yield -values
    yield 1 - values
    yield values + 0.24
    yield values * (1 + 1e-6)
    yield values.sample(frac=1, random_state=0).set_axis(values.index)
    if len(known) > 1:
        yield values.where(~np.isfinite(values), known.mean())
        noise = np.random.default_rng(0).normal(known.mean(), known.std(), len(values))
        yield values.where(~np.isfinite(values), noise)
    one = values.copy()
    one.iloc[len(one) // 2] = np.nan
    yield one
    one = values.copy()
    one.iloc[-1] += 1
    yield one


def edits_of_text(column: pd.Series) -> Iterator[pd.Series]:
    yield column.sample(frac=1, random_state=0).set_axis(column.index)
    one = column.astype(object)
    one.iloc[0] = "something else"
    yield one


def edits_of_table(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    first, second = table.columns[:2]
    yield table.iloc[:-1]
    yield pd.concat([table, table.iloc[-1:]])
    yield table.iloc[::-1]
    yield table.drop(columns=first)
    yield table.rename(columns={first: f"{first} "})
    yield table.rename(columns={first: second, second: first})


def edits_of_record(record: dict) -> Iterator[tuple[str, dict]]:
    """One measurement, parameter or figure changed or gone."""

    def change(*path: str | int, to: object) -> dict:
        edited = copy.deepcopy(record)
        place = edited
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to(place[path[-1]]) if callable(to) else to
        return edited

    def moved(value: float | None) -> float:
        return 0.24 if value is None else value + 0.24

    for i, measured in enumerate(record["measurements"]):
        numbers = [
            ("estimate",),
            ("interval", 0),
            ("interval", 1),
            ("n",),
            *(("values", v) for v in measured["values"]),
        ]
        for path in numbers:
            yield "measurement", change("measurements", i, *path, to=(lambda n: n + 1) if path == ("n",) else moved)
        for verdict in {"reproduced", "not reproduced", "inconclusive"} - {measured["verdict"]}:
            yield "measurement", change("measurements", i, "verdict", to=verdict)
        yield "measurement", change("measurements", i, "withheld", to="for no reason")
        yield "measurement", change("measurements", to=lambda all_, i=i: all_[:i] + all_[i + 1 :])
    for name in record["parameters"]:
        yield "parameter", change("parameters", name, to="another")
    for i in range(len(record["figures"])):
        yield "figure", change("figures", i, "name", to="another")


def edits(results: Results) -> Iterator[tuple[str, Results, Results]]:
    """(kind, reference, edited): every edit that changes something."""
    for figure in (known["name"] for known in results.record["figures"]):
        reference = only(results, figure)
        table = reference.table(f"{figure}.csv")
        for name, column in table.items():
            number = pd.api.types.is_numeric_dtype(column)
            for edited in edits_of_numbers(column) if number else edits_of_text(column):
                if not edited.equals(column.astype(edited.dtype)):
                    yield (
                        "number" if number else "text",
                        reference,
                        reference.edited(**{figure: table.assign(**{name: edited})}),
                    )
        for edited in edits_of_table(table):
            if not edited.reset_index(drop=True).equals(table):
                yield "table", reference, reference.edited(**{figure: edited})
    for kind, record in edits_of_record(results.record):
        yield kind, results, results.edited(record)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_edit_of_committed_results_is_seen(notebook):
    results = committed(notebook)
    assert differences(results, results) == []
    tried, seen = Counter(), Counter()
    for kind, reference, edited in edits(results):
        tried[kind] += 1
        seen[kind] += bool(differences(edited, reference))
    print(f"{notebook}: " + ", ".join(f"{seen[kind]} of {tried[kind]} {kind}" for kind in KINDS))
    assert seen == tried
    assert all(tried[kind] for kind in KINDS)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_no_tolerance_is_as_wide_as_its_column(notebook):
    results = committed(notebook)
    for name in (f"{known['name']}.csv" for known in results.record["figures"]):
        for column, values in results.table(name).select_dtypes("number").items():
            known = values[np.isfinite(values)].to_numpy(float)
            if len(set(known)) > 1:
                assert verify.tolerance(known).max() < np.ptp(known), f"{name}: {column}"


# --- the five that passed before ---


def test_the_sign_of_every_coefficient_is_seen():
    results = committed("ricci_correlation")
    table = results.table("distributions.csv")
    assert differences(results.edited(distributions=table.assign(rho=-table["rho"])), results)


def test_accuracies_replaced_by_noise_are_seen():
    results = committed("ricci_correlation")
    table = results.table("accuracy.csv")
    noise = np.random.default_rng(0).normal(0, table["accuracy_centred"].std(), len(table))
    assert differences(results.edited(accuracy=table.assign(accuracy_centred=noise)), results)


def test_another_k_is_seen():
    results = committed("ricci_correlation")
    table = results.table("distributions.csv")
    assert differences(results.edited(distributions=table.assign(k=table["k"] + 1000)), results)


def test_one_minus_every_p_value_is_seen():
    results = committed("ricci_correlation")
    table = results.table("accuracy_models.csv")
    edited = table.assign(p=1 - table["p"], permutation_p=1 - table["permutation_p"])
    assert differences(results.edited(accuracy_models=edited), results)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_verdict_moved_by_a_quarter_is_seen(notebook):
    results = committed(notebook)
    table = results.table("verdicts.csv")
    assert differences(results.edited(verdicts=table.assign(estimate=table["estimate"] + 0.24)), results)
