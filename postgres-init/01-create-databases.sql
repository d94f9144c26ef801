-- One database per region. Postgres runs this once, when its data folder is new; the tables come from
-- `leaderboard migrate`, which also makes a database that is missing here (another REGIONS, say).
CREATE DATABASE leaderboard_asia;
CREATE DATABASE leaderboard_eu;
CREATE DATABASE leaderboard_na;
CREATE DATABASE leaderboard_global;
