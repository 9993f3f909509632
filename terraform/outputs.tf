output "graphql_url" {
  description = "The address for clients' GraphQL requests; /graphql answers the same."
  value       = local.urls["graphql"]
}

output "migrate_job" {
  description = "The Cloud Run job that migrates both databases; run it before new code gets traffic."
  value       = google_cloud_run_v2_job.migrate.name
}

output "region" {
  description = "The region of everything."
  value       = var.region
}

output "artifact_registry" {
  description = "The registry for images: REGION-docker.pkg.dev/PROJECT/REPOSITORY."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "database_connection_name" {
  description = "The PostgreSQL instance's connection name, for the Cloud SQL Auth Proxy."
  value       = google_sql_database_instance.postgres.connection_name
}

output "web_api_key" {
  description = "The key with which web pages sign in; not a secret, but shown only by: terraform output -raw web_api_key"
  value       = google_apikeys_key.web.key_string
  sensitive   = true
}

output "builds_bucket" {
  description = "The bucket for a build's source and log."
  value       = google_storage_bucket.builds.name
}

output "build_service_account" {
  description = "The service account of builds, for gcloud builds submit."
  value       = google_service_account.build.id
}
