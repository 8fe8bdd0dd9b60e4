"""People compare the reasoning of two judges, blind (paper C.7, Table 9)."""
