# The job that places an order after a deployment: scripts/deploy runs it (outside prod, or with --smoke).
# The job signs itself in, so the person who deploys only needs the right to run it.

resource "google_project_service" "signing" {
  service            = "iamcredentials.googleapis.com"
  disable_on_destroy = false # others in the project may use it

  depends_on = [google_project_service.api]
}

resource "google_service_account" "smoke" {
  account_id   = "shop-smoke"
  display_name = "Orders something after each deployment"

  depends_on = [google_project_service.api]
}

# Identity Platform accepts a custom token signed by any of the project's service accounts. This account may sign only for
# itself that it is an admin, so no other principal may use it: that would make it an admin.
resource "google_service_account_iam_member" "smoke_signs" {
  service_account_id = google_service_account.smoke.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${google_service_account.smoke.email}"
}

resource "google_cloud_run_v2_job" "smoke" {
  name                = "shop-smoke"
  location            = var.region
  labels              = local.labels
  deletion_protection = false # it holds no data

  template {
    labels = local.labels

    template {
      service_account = google_service_account.smoke.email
      max_retries     = 0       # the person who runs it should see the failure
      timeout         = "1200s" # at first it waits until its rights are known

      containers {
        image   = var.image
        command = ["/cnb/lifecycle/launcher"] # the buildpacks' launcher, which finds Python
        args    = ["--", "python", "-m", "scripts.local.smoke"]

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        dynamic "env" {
          for_each = {
            PYTHONPATH  = "/workspace"
            PROJECT_ID  = var.project_id
            GRAPHQL_URL = "${local.urls["graphql"]}/graphql"
          }
          content {
            name  = env.key
            value = env.value
          }
        }
        env {
          name  = "WEB_API_KEY"
          value = google_apikeys_key.web.key_string # not a secret: every browser gets it
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version] # the last tool that edited it
  }

  depends_on = [google_project_service.signing, google_service_account_iam_member.smoke_signs]
}
