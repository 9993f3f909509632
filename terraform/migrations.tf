# Brings both databases up to date and gives each function's user its roles. Terraform only makes the job; it is run before
# new code gets traffic: gcloud run jobs execute shop-migrate --wait

locals {
  # Everything it makes belongs to this role, so that users can come and go.
  as_owner = "&options=-c%20role%3Dcloudsqlsuperuser"
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
  deletion_protection = false # it holds nothing

  template {
    labels = local.labels

    template {
      service_account = google_service_account.migrate.email
      max_retries     = 0 # whoever runs it wants to know
      timeout         = "3600s"

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = google_compute_network.shop.name
          subnetwork = google_compute_subnetwork.functions.name
        }
      }

      volumes {
        name = "cloudsql"
        cloud_sql_instance {
          instances = [google_sql_database_instance.postgres.connection_name]
        }
      }

      containers {
        image   = var.image
        command = ["/cnb/lifecycle/launcher"] # of buildpacks; it finds Python
        args    = ["--", "python", "-m", "scripts.local.migrate"]

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        volume_mounts {
          name       = "cloudsql"
          mount_path = "/cloudsql"
        }

        dynamic "env" {
          for_each = {
            PYTHONPATH           = "/workspace"
            PROJECT_ID           = var.project_id
            DATABASE_IAM         = "true"
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
    ignore_changes = [client, client_version] # whoever looked at it last

    precondition {
      condition     = var.image != null
      error_message = "There is no image yet: build one and give it by digest (README.md, step 3). scripts/deploy does."
    }
  }

  # It can't give roles to users that aren't there.
  depends_on = [google_sql_database.database, google_sql_user.function, google_project_iam_member.signs_in_to_postgres, google_project_iam_member.reaches_postgres, google_dns_record_set.run]
}
