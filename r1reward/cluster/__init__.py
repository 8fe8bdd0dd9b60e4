"""The same algorithm on OpenRLHF 0.11.2, where one machine is not enough: Ray, DeepSpeed and vLLM."""
