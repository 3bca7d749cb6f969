"""From rows of the nets in the plane to numbers: by hand on made-up rows."""

import numpy as np
import pandas as pd
import pytest

from repro.papers.magnification import boundary_analysis as analysis
from repro.papers.magnification.planar import square

NETS = 4


def rows(task="sinusoid", width=20, gain=0.8, steps=(0, 10, 100), **columns):
    """Nets whose boundary rises over its mirror images by `gain`, give or take 0.1, in proportion to the step."""
    table = []
    for step in steps:
        for net in range(NETS):
            rise = gain * step / steps[-1] + 0.1 * (net % 2) * (step > 0)
            row = {
                "task": task, "width": width, "step": step, "net": net, "near_far": [0.2 + rise, 0.1, 0.2, 0.3],
                "logit": [rise, 0.0], "probability": [2 * rise, 1.0], "projected": [rise, 0.0], "own": 1.0 + rise,
                "own_mirrored": 0.5, "crests_flanks": rise - 0.1, "angular_spread": 0.1 + rise / width,
                "train_accuracy": 0.9, "train_loss": 0.1, "volume_map": list(range(9)) if net == 0 else None,
                "margin_map": list(range(9)) if net == 0 else None,
            }  # fmt: skip
            table.append(row | columns)
    return pd.DataFrame(table)


def test_magnification_is_over_the_mean_of_the_mirror_images():
    estimate, values, _ = analysis.magnified(rows())
    assert estimate.value == pytest.approx(0.85) and estimate.n == NETS
    assert estimate.lower < 0.85 < estimate.upper
    assert values["trained"] == pytest.approx(np.exp(1.05))
    assert values["mirrored"] == pytest.approx(np.exp(0.2))
    assert values["untrained_gap"] == pytest.approx(0) and values["wins"] == 1
    assert analysis.by_training(rows()).estimate.value == pytest.approx(0.85)


def test_crests_and_levels():
    estimate, values, _ = analysis.crests(rows())
    assert estimate.value == pytest.approx(0.75) and values["untrained"] == pytest.approx(-0.1)
    assert analysis.level(rows(), "logit").estimate.value == pytest.approx(0.85)
    _, values, _ = analysis.level(rows(), "hidden")
    assert values["mirrored"] == pytest.approx(0.2)


def test_symmetry_compares_nets_of_one_seed():
    narrow, wide = rows("xor", 10), rows("xor", 500)
    spread = [0.1 + (0.8 + 0.1 * (net % 2)) / width for width in (10, 500) for net in range(NETS)]
    expected = np.exp(np.mean(np.log(np.divide(spread[:NETS], spread[NETS:]))))
    estimate, values, _ = analysis.symmetry_returns(narrow, wide)
    assert estimate.value == pytest.approx(expected) and values["untrained"] == pytest.approx(1)


def test_narrow_and_wide_are_withheld_where_one_did_not_reach_the_loss():
    table = pd.concat([rows(width=w, gain=g, steps=(100,), reached=True) for w, g in ((10, 1.0), (500, 0.4))])
    found = analysis.narrow_more(table, 10, 500)
    assert found.estimate.value == pytest.approx(0.6) and not found.withheld
    table.iloc[0, table.columns.get_loc("reached")] = False
    assert analysis.narrow_more(table, 10, 500).withheld == "1 nets did not reach the loss"


def test_contrast_of_the_last_layer_over_the_first():
    table = pd.DataFrame(
        {"step": step, "net": net, "layer": layer, "train_accuracy": 0.9,
         "contrast": (1 + step) * (layer + 0.1 * net * (layer == 3))}
        for step in (0, 5) for net in range(NETS) for layer in (1, 2, 3)
    )  # fmt: skip
    estimate, values, _ = analysis.depth_contrast(table)
    assert estimate.value == pytest.approx(np.exp(np.mean(np.log([3, 3.1, 3.2, 3.3]))))
    assert values["untrained"] == pytest.approx(estimate.value)
    assert analysis.by_layer(table).groupby("state").size().tolist() == [12, 12]


def test_tables_hold_factors():
    both = pd.concat([rows(), rows("xor", 10)])
    table = analysis.ratios(both, [{"task": "sinusoid", "width": 20}, {"task": "xor", "width": 10}])
    assert len(table) == 8 and table["nets"].eq(NETS).all()
    point = table[(table["task"] == "xor") & (table["state"] == "trained") & (table["about"] == "boundary")].iloc[0]
    assert point["mean"] == pytest.approx(np.exp(1.05)) and point["lower"] < point["mean"] < point["upper"]
    assert analysis.trajectory(rows(), [20])["step"].tolist() == [0, 0, 10, 10, 100, 100]
    assert set(analysis.levels({"cross-entropy": rows()})["level"]) == {"hidden", "logit", "probability"}


def test_controls_take_the_column_they_are_told_and_leave_out_nets_without_a_boundary():
    chosen = rows()
    chosen.loc[chosen["net"] == 0, "own"] = np.nan
    table = analysis.controls({"usual": (chosen, "near_far"), "own": (chosen, "own")}).set_index(["control", "about"])
    assert table.loc[("own", "boundary"), "nets"] == NETS - 1
    assert table.loc[("own", "mirror images"), "mean"] == pytest.approx(np.exp(0.5))
    assert table.loc[("usual", "boundary"), "nets"] == NETS


def test_widths_show_equal_loss_only_where_all_reached_it():
    equal = pd.concat([rows(width=w, steps=(100,), reached=w > 5) for w in (5, 10)])
    table = analysis.widths(pd.concat([rows("xor", 10), rows("xor", 500)]), equal, rows())
    assert table.loc[table["quantity"] == "equal loss", "width"].tolist() == [10]
    assert len(table) == 4 + 1 + 2


def test_maps_are_those_of_net_0_at_the_steps_asked_for():
    table = analysis.maps(rows(), [0, 100])
    assert table["panel"].tolist() == ["step 0"] * 9 + ["step 100"] * 9
    assert table[["x1", "x2"]].to_numpy()[:9].tolist() == square(3, 1.5).tolist()
    assert analysis.film_frames(rows())["step"].unique().tolist() == [0, 10, 100]
    assert analysis.moments(rows(), 20) == [0, 10, 100]


def test_what_was_not_run_is_named():
    with pytest.raises(ValueError, match="no rows with"):
        analysis.setting(rows(), width=7)
    assert analysis.widths_of(rows(), (20, 250)) == [20]
    assert analysis.measured(rows(), [("sinusoid", 20), ("xor", 20)]) == [("sinusoid", 20)]
