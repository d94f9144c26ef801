"""The API reference: the page at /docs and the recorded examples."""
