"""Write-behind: takes score events from the Redis queues into Postgres."""
