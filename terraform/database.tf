# PostgreSQL: one instance, two databases that share nothing, no password anywhere. Functions sign in as their service
# accounts; their rights are roles that the migrations create (shared/*/sql/always_grants.sql).

locals {
  databases = {
    event_store      = "event_store"
    command_database = "command"
  }

  # The connections that the functions can open at once, when each of them has all its instances.
  connections = sum(concat([0], [
    for function in local.functions : function.max_instances * function.pool_size * length(function.databases)
  ]))

  # For migrations, for people with psql, and for Google's own agents.
  connections_reserved = 30
}

resource "google_sql_database_instance" "postgres" {
  name                = join("-", compact(["shop", var.suffix]))
  region              = var.region
  database_version    = "POSTGRES_18"
  deletion_protection = var.deletion_protection # protects against Terraform

  settings {
    tier                        = var.database_tier
    edition                     = "ENTERPRISE" # the default edition of this version has no small machines
    availability_type           = var.high_availability ? "REGIONAL" : "ZONAL"
    disk_autoresize             = true
    deletion_protection_enabled = var.deletion_protection # protects against every caller
    user_labels                 = local.labels

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.shop.id
      ssl_mode        = "ENCRYPTED_ONLY"
      server_ca_mode  = "GOOGLE_MANAGED_INTERNAL_CA" # one CA for each instance, so its certificates identify the instance
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "18:00" # UTC
      location                       = var.region
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retained_backups = 14
      }
    }

    maintenance_window {
      day          = 7
      hour         = 18 # UTC
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled = true
    }

    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }
    database_flags {
      name  = "max_connections"
      value = tostring(var.database_max_connections)
    }
    # A forgotten open transaction holds back every reader of the log. Functions set this themselves; here it is for people.
    database_flags {
      name  = "idle_in_transaction_session_timeout"
      value = "60000"
    }
  }

  lifecycle {
    prevent_destroy = true # see README.md

    precondition {
      condition     = local.connections + local.connections_reserved <= var.database_max_connections
      error_message = "The functions may open ${local.connections} connections (max_instances x pool_size x databases of each), and ${local.connections_reserved} are reserved for people and migrations, but database_max_connections is ${var.database_max_connections}. Lower max_instances or pool_size, or raise database_max_connections and with it database_tier."
    }
  }

  depends_on = [google_service_networking_connection.databases]
}

data "google_sql_ca_certs" "postgres" {
  instance = google_sql_database_instance.postgres.name
}

resource "google_sql_database" "database" {
  for_each = local.databases

  name            = each.value
  instance        = google_sql_database_instance.postgres.name
  deletion_policy = "ABANDON" # it is deleted with its instance; alone it cannot be deleted while a client is connected

  lifecycle {
    prevent_destroy = true
  }
}

# A service account's name in PostgreSQL is its address without the suffix.
resource "google_sql_user" "function" {
  for_each = local.on_postgres

  name     = trimsuffix(google_service_account.function[each.key].email, ".gserviceaccount.com")
  instance = google_sql_database_instance.postgres.name
  type     = "CLOUD_IAM_SERVICE_ACCOUNT"
}

# Creates tables, roles and grants, which needs Cloud SQL's kind of superuser.
resource "google_sql_user" "migrate" {
  name           = trimsuffix(google_service_account.migrate.email, ".gserviceaccount.com")
  instance       = google_sql_database_instance.postgres.name
  type           = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles = ["cloudsqlsuperuser"]
}

locals {
  on_postgres  = { for name, function in local.functions : name => function if length(function.databases) > 0 }
  on_firestore = { for name, function in local.functions : name => function if contains(function.uses, "firestore") }

  # Functions connect to the private address, the only one there is. Each checks that the server's certificate is from the
  # instance's own CA (shared/postgres/pool.py). While Google rotates the CA, both its certificates are accepted.
  database_url = {
    for use, database in local.databases : use => "postgresql://{user}@${google_sql_database_instance.postgres.private_ip_address}/${database}"
  }
  database_ca = join("\n", data.google_sql_ca_certs.postgres.certs[*].cert)
}
