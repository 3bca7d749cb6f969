"""One folder for each paper: its cells, what turns their rows into numbers, and what draws those."""
