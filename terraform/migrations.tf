# The job that migrates both databases and grants each function's user its roles. Terraform only creates it; run it before
# new code gets traffic: gcloud run jobs execute shop-migrate --wait

locals {
  # This role owns everything that the job creates, so that users can be replaced.
  as_owner = "?options=-c%20role%3Dcloudsqlsuperuser"
}

resource "google_service_account" "migrate" {
  account_id   = "shop-migrate"
  display_name = "Migrates the shop's databases"

  depends_on = [google_project_service.api]
}

resource "google_cloud_run_v2_job" "migrate" {
  name                = "shop-migrate"
  location            = var.region
  labels              = local.labels
  deletion_protection = false # it holds no data

  template {
    labels = local.labels

    template {
      service_account = google_service_account.migrate.email
      max_retries     = 0 # the person who runs it should see the failure
      timeout         = "3600s"

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
        args    = ["--", "python", "-m", "scripts.local.migrate"]

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        dynamic "env" {
          for_each = {
            PYTHONPATH           = "/workspace"
            PROJECT_ID           = var.project_id
            DATABASE_IAM         = "true"
            DATABASE_CA          = local.database_ca
            WRAPPING_KEY         = google_kms_crypto_key.persons.id
            DATABASE_USER        = "shop-{service}@${var.project_id}.iam"
            EVENT_STORE_URL      = "${replace(local.database_url["event_store"], "{user}", urlencode(google_sql_user.migrate.name))}${local.as_owner}"
            COMMAND_DATABASE_URL = "${replace(local.database_url["command_database"], "{user}", urlencode(google_sql_user.migrate.name))}${local.as_owner}"
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

    precondition {
      condition     = var.image != null
      error_message = "There is no image yet: build one and set image to its digest (terraform/README.md, step 3), or use scripts/deploy."
    }
  }

  # It cannot grant roles to users that do not exist.
  depends_on = [google_sql_database.database, google_sql_user.function, google_project_iam_member.signs_in_to_postgres, google_dns_record_set.run]
}
