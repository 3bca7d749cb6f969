"""The machinery that runs notebooks and judges claims; it knows no paper."""
