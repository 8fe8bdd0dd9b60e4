"""Tables and figures, drawn from result files only: no torch, no model, no data set is needed."""
