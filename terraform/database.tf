resource "google_sql_database_instance" "postgres" {
  name             = "shop"
  region           = var.region
  database_version = "POSTGRES_18"

  settings {
    tier    = "db-custom-1-3840"
    edition = "ENTERPRISE"
  }
}
