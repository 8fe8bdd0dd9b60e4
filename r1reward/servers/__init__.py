"""One way to ask an OpenAI-compatible server, for the annotator and for the consistency judge."""
