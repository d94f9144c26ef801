"""Live boards: one read per board and tick, and an event to everybody who listens when something changed."""
