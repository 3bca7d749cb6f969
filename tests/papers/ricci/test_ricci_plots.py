"""Figure regression on small fixed frames, as in test_compression_plots.py, which says how to renew the baselines."""

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import linkage

from repro.papers.ricci import correlation_plots as plots
from repro.papers.ricci import profiles_plots
from repro.papers.ricci.looks import CONDITIONS, DATASETS

regression = pytest.mark.mpl_image_compare(
    baseline_dir="../../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)

WIDTHS = ["narrow", "wide", "bottleneck"]
CONVENTIONS = ["directed", "union"]


def combinations(**columns):
    return pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)


def levels(frame):
    """A number in (0, 1) per row, of its architecture and depth."""
    return frame["architecture"].map(dict(zip(WIDTHS, (0.2, 0.4, 0.6), strict=True))) + 0.02 * frame["depth"]


def with_interval(frame, mean, half=0.1):
    return frame.assign(mean=mean, lower=mean - half, upper=mean + half)


def profiles(datasets=("A", "sandal-boot")):
    """Pooled coefficients that fall with k, of synthetic data with small and of images with large k."""
    tables = []
    for dataset in datasets:
        points, neighbours = (1000, [6, 20, 50, 200]) if dataset in "ABC" else (2000, [10, 90, 350, 500, 1000])
        table = combinations(dataset=[dataset], architecture=WIDTHS, depth=[5, 11], k=neighbours)
        table = with_interval(table, levels(table) - 1.2 * np.log(table["k"]) / np.log(max(neighbours)))
        tables.append(table.assign(points=points, best=table["k"] == neighbours[-2]))
    table = pd.concat(tables, ignore_index=True).rename(columns={"mean": "coefficient"})
    table.loc[3, ["coefficient", "lower", "upper"]] = np.nan
    return table.assign(connected=np.where(table["k"] < 10, 0.3, 1.0))


@regression
def test_ricci_distributions():
    frame = combinations(
        dataset=["A", "C", "shirt-coat"],
        architecture=WIDTHS,
        depth=[5, 11],
        condition=list(CONDITIONS),
        net=range(5),
    )
    level = frame["condition"].map(dict(zip(CONDITIONS, (-0.9, 0.0, -0.3, -0.6), strict=True)))
    rho = (level + 0.2 * levels(frame) * (frame["net"] - 2)).where(frame["net"] + frame["depth"] != 5)
    return plots.distributions(frame.assign(rho=rho))


@regression
def test_ricci_scales():
    return plots.scales(profiles())


@regression
def test_ricci_shares():
    choices = ["k held out", "k of trained nets", "own best k"]
    frame = combinations(convention=CONVENTIONS, condition=[*CONDITIONS, "shuffled layers"], choice=choices)
    heights = (0.85, 0.45, 0.5, 0.7, 0.6)
    share = frame["condition"].map(dict(zip([*CONDITIONS, "shuffled layers"], heights, strict=True)))
    share += 0.1 * (frame["choice"] == "own best k")
    return plots.shares(frame.assign(share=share, lower=share - 0.05, upper=share + 0.04, nets=40))


@regression
def test_ricci_accuracy():
    frame = combinations(dataset=list(DATASETS)[:5], depth=[5, 11], net=range(6))
    z = (frame["net"] - 2.5) / frame["depth"]
    return plots.accuracy(frame.assign(z_centred=z, accuracy_centred=-0.002 * z))


@regression
def test_ricci_accuracy_models():
    frame = combinations(
        convention=CONVENTIONS, model=["additive", "cell intercepts"], name=["z, as printed", "z; loss"]
    )
    t = np.linspace(-2.5, 1, len(frame))
    null = frame["model"].map({"additive": -1.0, "cell intercepts": 0.0})
    frame = frame.assign(t=t, t_lower=t - 2, t_upper=t + 2, null_lower=null - 2, null_upper=null + 2)
    return plots.accuracy_models(frame)


@regression
def test_ricci_best_scales():
    frame = combinations(grid=["paper", "all k"], dataset=["A", "mnist-6v8"], architecture=WIDTHS, depth=[5, 11])
    share = 0.1 * levels(frame) + 0.2 * (frame["dataset"] != "A") + 0.1 * (frame["grid"] == "all k")
    return profiles_plots.best_scales(
        frame.assign(share=share, published_share=0.05, at_edge=frame["architecture"] == "wide")
    )


@regression
def test_ricci_profiles():
    return profiles_plots.profiles(profiles(), {"A": 260.0, "sandal-boot": 520.0})


@regression
def test_ricci_groups():
    tables = []
    for kind, positions in (("synthetic", [0, 1, 5, 6.5]), ("images", [0, 3, 4])):
        tree = linkage(np.array(positions)[:, None], "ward")
        table = pd.DataFrame(tree, columns=["left", "right", "distance", "cells"]).reindex(range(len(positions)))
        tables.append(table.assign(kind=kind, name=[f"A wide {i}" for i in range(len(positions))]))
    return profiles_plots.groups(pd.concat(tables, ignore_index=True))


@regression
@pytest.mark.parametrize("datasets", [2, 5])
def test_ricci_layer_curves(datasets):
    frame = combinations(
        dataset=list(DATASETS)[:datasets], architecture=WIDTHS, depth=[5, 11], layer=range(1, 12),
        quantity=["hop distance", "curvature"],
    )  # fmt: skip
    frame = frame[frame["layer"] <= frame["depth"]]
    rising = levels(frame) + 0.1 * frame["layer"]
    return profiles_plots.layers(with_interval(frame, rising.where(frame["quantity"] == "hop distance", -50 * rising)))


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.mark.parametrize("figure", [test_ricci_scales, test_ricci_accuracy_models])
def test_numbers_have_a_proper_minus_sign(figure):
    found = texts(figure())
    assert any("−" in text for text in found)
    assert not any("-" in text and any(sign.isdigit() for sign in text.split("-")[-1][:1]) for text in found)
