"""Where nets in the plane magnify area: rows of `papers.magnification.boundary` to numbers and tables.

All ratios are differences of natural logarithms until a value says otherwise; one number a net.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from repro.papers.magnification.planar import square
from repro.stats import estimate as stats

Array = npt.NDArray[np.float64]

BOUNDARY, MIRRORED = "boundary", "mirror images"
UNTRAINED, TRAINED = "untrained", "trained"
LEVELS = {"hidden": "near_far", "logit": "logit", "probability": "probability"}  # columns of the rows


def look_steps(steps: int, looks: int) -> list[int]:
    """Steps at which nets are looked at: 0, and about `looks` more in a geometric progression to the last.

    >>> look_steps(1000, 4)
    [0, 1, 10, 100, 1000]
    """
    return [0, *np.unique(np.geomspace(1, steps, looks).round().astype(int)).tolist()]


def setting(rows: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of one setting: columns with these values, the nets in order.

    Raises:
        ValueError: if there are none.
    """
    chosen = rows
    for name, value in values.items():
        chosen = chosen[chosen[name] == value]
    if chosen.empty:
        raise ValueError(f"there are no rows with {values}")
    return chosen.sort_values(["step", "net"])


def first_and_last(chosen: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of a setting before and after training."""
    return {
        UNTRAINED: chosen[chosen["step"] == chosen["step"].min()],
        TRAINED: chosen[chosen["step"] == chosen["step"].max()],
    }


def measured(rows: pd.DataFrame, wanted: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those of the wanted tasks and widths that were run."""
    run = set(rows[["task", "width"]].itertuples(index=False, name=None))
    return [pair for pair in wanted if pair in run]


def widths_of(rows: pd.DataFrame, wanted: Iterable[int]) -> list[int]:
    """Those of the wanted widths that were run."""
    return [width for width in wanted if width in set(rows["width"])]


def moments(rows: pd.DataFrame, width: int) -> list[int]:
    """Three steps to show of this width: the start, one tenth of the way, and the end."""
    steps = sorted(rows.loc[rows["width"] == width, "step"].unique())
    middle = min(steps[1:-1] or steps[-1:], key=lambda step: abs(step - steps[-1] / 10))
    return [int(step) for step in (steps[0], middle, steps[-1])]


def near_far(chosen: pd.DataFrame, column: str = "near_far") -> dict[str, Array]:
    """About the boundary and, averaged, its mirror images: (nets,) each."""
    values = np.array(chosen[column].tolist(), dtype=np.float64)  # (nets, 1 + images)
    return {BOUNDARY: values[:, 0], MIRRORED: values[:, 1:].mean(1)}


def magnified(chosen: pd.DataFrame) -> stats.Finding:
    """Near over far of the trained nets, less that of the mirror images, with the numbers that belong to it."""
    trained, untrained = (near_far(part) for part in reversed(first_and_last(chosen).values()))
    gain = trained[BOUNDARY] - trained[MIRRORED]
    before = {name: np.exp(values.mean()) for name, values in untrained.items()}
    values = {
        "trained": np.exp(trained[BOUNDARY].mean()),
        "mirrored": np.exp(trained[MIRRORED].mean()),
        "untrained": before[BOUNDARY],
        "untrained_gap": abs(before[BOUNDARY] - before[MIRRORED]),
        "wins": (gain > 0).mean(),
        "own_boundary": np.exp(first_and_last(chosen)[TRAINED]["own"].mean()),
        "ratio": np.exp(gain.mean()),
        "accuracy": first_and_last(chosen)[TRAINED]["train_accuracy"].mean(),
    }
    return stats.Finding(stats.mean(gain), values)


def by_training(chosen: pd.DataFrame) -> stats.Finding:
    """Near over far about the boundary, trained less untrained."""
    before, after = (near_far(part)[BOUNDARY] for part in first_and_last(chosen).values())
    return stats.Finding(stats.mean(after - before), {"ratio": np.exp((after - before).mean())})


def crests(chosen: pd.DataFrame) -> stats.Finding:
    """Log of the volume at the crests over that at the flanks, trained; the untrained mean beside it."""
    parts = first_and_last(chosen)
    return stats.Finding(
        stats.mean(parts[TRAINED]["crests_flanks"]),
        {"untrained": parts[UNTRAINED]["crests_flanks"].mean(), "accuracy": parts[TRAINED]["train_accuracy"].mean()},
    )


def symmetry_returns(narrow: pd.DataFrame, wide: pd.DataFrame) -> stats.Finding:
    """Angular spread of trained nets, narrow over wide; the same of the untrained ones beside it."""
    spreads = {
        state: [first_and_last(chosen)[state]["angular_spread"].to_numpy(float) for chosen in (narrow, wide)]
        for state in (UNTRAINED, TRAINED)
    }
    values = {"untrained": stats.geometric_mean(spreads[UNTRAINED][0] / spreads[UNTRAINED][1]).value}
    values |= {f"{name}_gain": np.exp(np.log(spreads[TRAINED][i] / spreads[UNTRAINED][i]).mean())
               for i, name in enumerate(("narrow", "wide"))}  # fmt: skip
    return stats.Finding(stats.geometric_mean(spreads[TRAINED][0] / spreads[TRAINED][1]), values)


def narrow_more(rows: pd.DataFrame, narrow: int, wide: int) -> stats.Finding:
    """Magnification at equal training loss, narrow less wide; withheld where a net did not reach that loss."""
    parts = [rows[rows["width"] == width].sort_values("net") for width in (narrow, wide)]
    gains = [found[BOUNDARY] - found[MIRRORED] for found in map(near_far, parts)]
    short = sum(int((~part["reached"].astype(bool)).sum()) for part in parts)
    values = {f"width_{width}": gain.mean() for width, gain in zip((narrow, wide), gains, strict=True)}
    withheld = f"{short} nets did not reach the loss" if short else ""
    return stats.Finding(stats.mean(gains[0] - gains[1]), values, withheld)


def depth_contrast(rows: pd.DataFrame) -> stats.Finding:
    """Contrast of trained nets, last over first hidden layer; the same of untrained ones beside it."""
    ratios = {}
    for state, part in first_and_last(rows).items():
        layers = part.pivot(index="net", columns="layer", values="contrast")
        ratios[state] = (layers[layers.columns.max()] / layers[1]).to_numpy(float)
    trained = first_and_last(rows)[TRAINED]
    values = {"untrained": np.exp(np.log(ratios[UNTRAINED]).mean()), "accuracy": trained["train_accuracy"].mean()}
    values |= {f"contrast_{layer}": part.mean() for layer, part in trained.groupby("layer")["contrast"]}
    return stats.Finding(stats.geometric_mean(ratios[TRAINED]), values)


def level(chosen: pd.DataFrame, name: str) -> stats.Finding:
    """Near over far at a level of `LEVELS`, trained; that of the mirror images beside it."""
    found = near_far(first_and_last(chosen)[TRAINED], LEVELS[name])
    values = {"mirrored": found[MIRRORED].mean(), "ratio": np.exp(found[BOUNDARY].mean())}
    values["accuracy"] = first_and_last(chosen)[TRAINED]["train_accuracy"].mean()
    return stats.Finding(stats.mean(found[BOUNDARY]), values)


def ratios(rows: pd.DataFrame, settings: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Near over far by setting: task, width, state, about, mean, lower, upper, nets (factors, not logarithms)."""
    tables = []
    for values in settings:
        for state, part in first_and_last(setting(rows, **values)).items():
            for about, found in near_far(part).items():
                tables.append(_factor(found, task=values["task"], width=values["width"], state=state, about=about))
    return pd.concat(tables, ignore_index=True)


def trajectory(rows: pd.DataFrame, widths: Sequence[int]) -> pd.DataFrame:
    """Near over far along training on the sinusoid: width, step, about, mean, lower, upper, nets (factors)."""
    tables = []
    for width in widths:
        for step, part in setting(rows, width=width).groupby("step"):
            for about, found in near_far(part).items():
                tables.append(_factor(found, width=width, step=step, about=about))
    return pd.concat(tables, ignore_index=True)


def widths(xor: pd.DataFrame, equal: pd.DataFrame, sinusoid: pd.DataFrame) -> pd.DataFrame:
    """Against the width: quantity, width, state, mean, lower, upper, nets (factors, and the spread of the log volume).

    Quantities: angular spread (XOR), equal loss (near over far over the mirror images' when the loss is reached, of the
    widths whose nets all reached it), crests over flanks (sinusoid).
    """
    tables = []
    for width in sorted(xor["width"].unique()):
        for state, part in first_and_last(setting(xor, width=width)).items():
            spread = stats.geometric_mean(part["angular_spread"])
            tables.append(spread.frame("nets", quantity="angular spread", width=[width], state=state))
    for width, part in equal.groupby("width"):
        if part["reached"].astype(bool).all():
            found = near_far(part)
            gain = found[BOUNDARY] - found[MIRRORED]
            tables.append(_factor(gain, quantity="equal loss", width=width, state=TRAINED))
    for width in sorted(sinusoid["width"].unique()):
        for state, part in first_and_last(setting(sinusoid, width=width)).items():
            gain = part["crests_flanks"].to_numpy(float)
            tables.append(_factor(gain, quantity="crests over flanks", width=width, state=state))
    return pd.concat(tables, ignore_index=True)


def by_layer(rows: pd.DataFrame) -> pd.DataFrame:
    """Contrast of every net and layer: state, net, layer, contrast."""
    parts = [part.assign(state=state) for state, part in first_and_last(rows).items()]
    return pd.concat(parts, ignore_index=True)[["state", "net", "layer", "contrast"]]


def levels(losses: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Near over far of trained nets by loss and level: loss, level, about, mean, lower, upper, nets (factors)."""
    return pd.concat(
        [
            _factor(found, loss=loss, level=name, about=about)
            for loss, chosen in losses.items()
            for name, column in LEVELS.items()
            for about, found in near_far(first_and_last(chosen)[TRAINED], column).items()
        ],
        ignore_index=True,
    )


def controls(named: dict[str, tuple[pd.DataFrame, str]]) -> pd.DataFrame:
    """Near over far of trained nets: control, about, mean, lower, upper, nets (factors).

    Args:
        named: rows of a setting, and the column to take: near_far, projected, or own (about the net's own boundary).
    """
    tables = []
    for name, (chosen, column) in named.items():
        trained = first_and_last(chosen)[TRAINED]
        own = {BOUNDARY: trained["own"].to_numpy(float), MIRRORED: trained["own_mirrored"].to_numpy(float)}
        found = own if column == "own" else near_far(trained, column)
        defined = np.isfinite(list(found.values())).all(0)  # a net may have no boundary of its own
        tables += [_factor(found[about][defined], control=name, about=about) for about in found if defined.any()]
    return pd.concat(tables, ignore_index=True)


def maps(chosen: pd.DataFrame, steps: Sequence[int], label: str = "step") -> pd.DataFrame:
    """Maps of net 0, a row per point: panel, x1, x2, log10_volume, margin.

    Args:
        chosen: rows of one setting, or of several that `label` tells apart.
        steps: at which to show them, one panel each.
        label: the column that names a panel.
    """
    shown = chosen[(chosen["net"] == 0) & chosen["step"].isin(steps)]
    tables = []
    for row in shown.to_dict("records"):
        points = square(round(np.sqrt(len(row["volume_map"]))), 1.5)
        panel = f"{label} {row[label]}"
        values = {"log10_volume": row["volume_map"], "margin": row["margin_map"]}
        tables.append(pd.DataFrame({"panel": panel, "x1": points[:, 0], "x2": points[:, 1], **values}))
    return pd.concat(tables, ignore_index=True)


def film_frames(chosen: pd.DataFrame) -> pd.DataFrame:
    """Maps of net 0 at every look, as `maps`, with the step in place of the panel."""
    table = maps(chosen, chosen["step"].unique().tolist())
    return table.assign(step=table["panel"].str.removeprefix("step ").astype(int)).drop(columns="panel")


def _factor(logs: Array, **columns: Any) -> pd.DataFrame:
    """Mean of logarithms over nets as a factor with its interval, in one row."""
    one_row = {name: [value] for name, value in columns.items()}
    return stats.mean(logs).map(np.exp).frame("nets", **one_row)
