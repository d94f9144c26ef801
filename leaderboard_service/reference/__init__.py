"""The API reference: the page at /docs, the OpenAPI document and the recorded examples."""
