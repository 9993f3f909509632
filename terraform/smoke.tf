# The order that is placed when something new has been deployed: scripts/deploy runs this job (outside prod, or when told to).
# The job signs itself in, so whoever deploys only needs to be allowed to run it.

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

# Identity Platform takes the word of any of the project's own accounts for who somebody is; this one may sign, for itself
# alone, that it is an admin. So nobody else may use this account, or they would be one.
resource "google_service_account_iam_member" "smoke_signs" {
  service_account_id = google_service_account.smoke.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = "serviceAccount:${google_service_account.smoke.email}"
}

resource "google_cloud_run_v2_job" "smoke" {
  name                = "shop-smoke"
  location            = var.region
  labels              = local.labels
  deletion_protection = false # it holds nothing

  template {
    labels = local.labels

    template {
      service_account = google_service_account.smoke.email
      max_retries     = 0       # whoever runs it wants to know
      timeout         = "1200s" # on the first day it waits for its rights

      containers {
        image   = var.image
        command = ["/cnb/lifecycle/launcher"] # of buildpacks; it finds Python
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
          value = google_apikeys_key.web.key_string # every browser gets it, too
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [client, client_version] # whoever looked at it last
  }

  depends_on = [google_project_service.signing, google_service_account_iam_member.smoke_signs]
}
