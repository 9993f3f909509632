resource "google_artifact_registry_repository" "images" {
  repository_id = "shop"
  location      = var.region
  format        = "DOCKER"
  labels        = local.labels
}
