output "graphql_url" {
  description = "Where clients send GraphQL; /graphql answers the same."
  value       = local.urls["graphql"]
}

output "migrate_job" {
  description = "The Cloud Run job that brings both databases up to date; run it before new code gets traffic."
  value       = google_cloud_run_v2_job.migrate.name
}

output "region" {
  description = "Where everything runs."
  value       = var.region
}

output "artifact_registry" {
  description = "Where images are pushed: REGION-docker.pkg.dev/PROJECT/REPOSITORY."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "database_connection_name" {
  description = "Of the PostgreSQL instance, as the Cloud SQL Auth Proxy wants it."
  value       = google_sql_database_instance.postgres.connection_name
}

output "web_api_key" {
  description = "What web pages sign in with; not a secret, but shown only when asked for: terraform output -raw web_api_key"
  value       = google_apikeys_key.web.key_string
  sensitive   = true
}

output "builds_bucket" {
  description = "Where a build gets its source from and puts its log."
  value       = google_storage_bucket.builds.name
}

output "build_service_account" {
  description = "Who builds, as gcloud builds submit wants it."
  value       = google_service_account.build.id
}
