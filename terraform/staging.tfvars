# The smallest working system: one instance for each function, a shared core, no standby.
environment              = "staging"
admin_email              = "admin@example.com"
max_instances            = 1
pool_size                = 1
functions                = { graphql = { pool_size = 4 } } # it follows the log and runs queries in parallel
database_tier            = "db-g1-small"
database_max_connections = 110
high_availability        = false
trace_sample_ratio       = 1
