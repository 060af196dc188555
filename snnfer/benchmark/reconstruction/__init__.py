"""Reconstruction: intensity frames of faces from their events, scored image by image."""
