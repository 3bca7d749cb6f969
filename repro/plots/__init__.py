"""Drawing: a DataFrame in, a matplotlib Figure out; nothing statistical is computed here."""
