resource "google_cloud_run_v2_job" "migrate" {
  name     = "shop-migrate"
  location = var.region
  labels   = local.labels

  template {
    template {
      containers {
        image = var.image
      }
    }
  }
}
