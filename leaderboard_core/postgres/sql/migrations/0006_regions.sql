-- The regions of the whole system, in each of its databases: one that REGIONS lacks later has players who would be lost.
CREATE TABLE IF NOT EXISTS known_regions (
    region TEXT PRIMARY KEY
);
