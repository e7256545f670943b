"""Neutrino interactions on carbon at 0.5 to 20 GeV and the response of a scintillator tracker: simulation, in NumPy."""
