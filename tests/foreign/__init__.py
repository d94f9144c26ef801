"""The API in the hands of others: linters of its document, parsers of its streams."""
