"""Live boards: one read per board and interval, and an event to every listener when something changed."""
