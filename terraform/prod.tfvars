# A production shop: one warm instance for clients at all times, a standby for the database.
environment = "prod"
admin_email = "admin@example.com"
# alert_email = "on-call@example.com"   # the admin's by default
functions     = { graphql = { min_instances = 1 }, create_order = { min_instances = 1 } }
database_tier = "db-custom-2-8192"
# payment_url  = "https://payments.example.com/charges"   # until all three are set, the sandbox only pretends
# shipping_url = "https://carrier.example.com/parcels"
# notification_url = "https://mail.example.com/messages"
# billing_account = "012345-6789AB-CDEF01"   # without these two there is no budget alert
# monthly_budget  = 500
