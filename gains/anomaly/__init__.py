"""The parts of GAMM; :mod:`gains.gradient_anomaly` puts them together."""
