"""The harmonic-plus-noise source and the all-pole vocal tract: controls to sound."""
