"""Generate parts of the documentation from the code and from recorded answers of running services."""
