"""The documentation's generated parts: made from the code, and from answers recorded from running services."""
