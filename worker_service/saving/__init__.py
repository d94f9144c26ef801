"""Write-behind: from the Redis queues into Postgres."""
