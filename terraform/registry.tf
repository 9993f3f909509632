# The registry, and the builds of the image.

resource "google_artifact_registry_repository" "images" {
  repository_id = "shop"
  location      = var.region
  format        = "DOCKER"
  description   = "The one image that every function runs."
  labels        = local.labels

  cleanup_policy_dry_run = false

  # Enough for roll-backs; Cloud Run keeps its own copy of the images that serve.
  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 20
    }
  }
  cleanup_policies {
    id     = "delete-the-others"
    action = "DELETE"
    condition {
      older_than = "2592000s" # 30 days
    }
  }

  depends_on = [google_project_service.api]
}

# The source and the log of builds; neither is needed for long.
resource "google_storage_bucket" "builds" {
  name                        = "${var.project_id}-shop-builds"
  location                    = var.region
  labels                      = local.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 14
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_service_account" "build" {
  account_id   = "shop-build"
  display_name = "Builds the shop's image"

  depends_on = [google_project_service.api]
}

# Pushes the image.
resource "google_artifact_registry_repository_iam_member" "build_pushes" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = "serviceAccount:${google_service_account.build.email}"
}

# Reads the source and writes the log.
resource "google_storage_bucket_iam_member" "build_reads_and_logs" {
  bucket = google_storage_bucket.builds.name
  role   = "roles/storage.objectUser"
  member = "serviceAccount:${google_service_account.build.email}"
}

# Reads the bucket's metadata, which a build checks before it logs.
resource "google_storage_bucket_iam_member" "build_sees_its_bucket" {
  bucket = google_storage_bucket.builds.name
  role   = "roles/storage.legacyBucketReader"
  member = "serviceAccount:${google_service_account.build.email}"
}
