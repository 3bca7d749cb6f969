"""How networks and planes look in the figures of this paper."""

from typing import Any

from repro import style

NETWORKS: dict[str, dict[str, Any]] = {
    "residual": {"color": style.BLUE, "marker": "o", "linestyle": "-"},
    "dense": {"color": style.ORANGE, "marker": "s", "linestyle": "--"},
    "LeNet": {"color": style.GREEN, "marker": "^", "linestyle": "-."},
    "transformer": {"color": style.PINK, "marker": "D", "linestyle": ":"},
    "residual, ReLU, unit inputs": {"color": "0.45", "marker": "v", "linestyle": (0, (3, 1, 1, 1))},
}
CRITERION: dict[str, Any] = {"color": "0.2", "linewidth": 0.9, "linestyle": (0, (6, 2))}
CHANCE: dict[str, Any] = {"color": "0.5", "linewidth": 0.9, "linestyle": (0, (1, 1.5))}
