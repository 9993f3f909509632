# A shop that people use: always one warm instance for them, a standby for the database.
environment = "prod"
admin_email = "admin@example.com"
# alert_email = "on-call@example.com"   # the admin otherwise
functions     = { graphql = { min_instances = 1 }, create_order = { min_instances = 1 } }
database_tier = "db-custom-2-8192"
# payment_url  = "https://payments.example.com/charges"   # until both are set, the sandbox pretends
# shipping_url = "https://carrier.example.com/parcels"
# billing_account = "012345-6789AB-CDEF01"   # without these two nobody is told when it gets dear
# monthly_budget  = 500
