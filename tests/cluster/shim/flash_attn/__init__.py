"""Importable where the real package cannot be built; without packing OpenRLHF never calls it."""
