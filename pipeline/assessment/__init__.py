"""How good a world model is: its errors, its calibration, and how far it can be trusted."""
