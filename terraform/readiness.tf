# The job that asks every function whether it is ready: scripts/deploy runs it after each roll-out. It only reads.

resource "google_service_account" "readiness" {
  account_id   = "shop-readiness"
  display_name = "Asks the shop's functions whether they are ready"

  depends_on = [google_project_service.api]
}

# Reaches every function. Cloud Run cannot grant single paths; each function refuses this account on every path but its health
# and metrics, because it is not among its `callers` (functions.tf).
resource "google_cloud_run_v2_service_iam_member" "asked_for_readiness" {
  for_each = { for name, function in local.functions : name => function if !function.public }

  name     = google_cloud_run_v2_service.function[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.readiness.email}"
}

resource "google_cloud_run_v2_job" "readiness" {
  name                = "shop-readiness"
  location            = var.region
  labels              = local.labels
  deletion_protection = false # it holds no data

  template {
    labels = local.labels

    template {
      service_account = google_service_account.readiness.email
      max_retries     = 0 # it asks again by itself
      timeout         = "600s"

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = google_compute_network.shop.name
          subnetwork = google_compute_subnetwork.functions.name
        }
      }

      containers {
        image   = var.image
        command = ["/cnb/lifecycle/launcher"] # the buildpacks' launcher, which finds Python
        args    = ["--", "python", "-m", "scripts.local.readiness"]

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        dynamic "env" {
          for_each = {
            PYTHONPATH    = "/workspace"
            FUNCTION_URLS = jsonencode(local.urls)
          }
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version] # the last tool that edited it
  }

  depends_on = [google_dns_record_set.run, google_cloud_run_v2_service_iam_member.asked_for_readiness]
}
