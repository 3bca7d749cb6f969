"""Estimates with their intervals, and the models behind them."""
