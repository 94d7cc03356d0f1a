"""Metrics, figures and one self-contained page, from what the other stages wrote."""
