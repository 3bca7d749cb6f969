"""Figure regression of the verdicts; `make baselines` draws a new reference picture."""

import numpy as np
import pandas as pd
import pytest
import seaborn as sns

from repro import style
from repro.workflow.forest import verdicts

INFINITE = np.inf
ROWS = [
    ("a.inside", "d = 5", "exponent", 0.5, 0.45, 0.55, 0.4, 0.6, 16, "reproduced", ""),
    ("a.outside", "", "exponent", 0.9, 0.8, 1.0, 0.4, 0.6, 16, "not reproduced", ""),
    ("a.across", "", "exponent", 0.6, 0.5, 0.7, 0.4, 0.6, 16, "inconclusive", ""),
    ("a.half_open", "", "ratio", 3.0, 2.0, 4.0, 1.0, INFINITE, 16, "reproduced", ""),
    ("a.unfinished", "", "ratio", 0.7, 0.5, 0.9, 1.0, INFINITE, 16, "withheld", "3 nets did not reach every margin"),
    ("a.single", "d = 2", "ratio", 2.0, np.nan, np.nan, -INFINITE, INFINITE, 1, "not judged", ""),
]


@pytest.mark.mpl_image_compare(
    baseline_dir="../baselines/plots", tolerance=12, style="default", savefig_kwargs={"dpi": 75}
)
def test_verdicts():
    return verdicts(pd.DataFrame(ROWS, columns=verdicts.columns))


def test_the_palette_is_seaborns_for_the_colour_blind():
    assert list(style.PALETTE) == sns.color_palette("colorblind").as_hex()
