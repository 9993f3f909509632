# Cloud Scheduler calls the functions that have a schedule in the manifest.

locals {
  scheduled = { for name, function in local.functions : name => function if function.schedule != null }
}

resource "google_service_account" "scheduler" {
  account_id   = "shop-scheduler"
  display_name = "Calls the shop's scheduled functions"

  depends_on = [google_project_service.api]
}

# The scheduler may call the functions that have a schedule, and no others.
resource "google_cloud_run_v2_service_iam_member" "scheduled" {
  for_each = local.scheduled

  name     = google_cloud_run_v2_service.function[each.key].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "serviceAccount:${google_service_account.scheduler.email}"
}

resource "google_cloud_scheduler_job" "schedule" {
  for_each = local.scheduled

  name             = each.value.service_name
  region           = var.region
  schedule         = each.value.schedule.cron
  time_zone        = "Etc/UTC"
  attempt_deadline = "${each.value.timeout_seconds + 10}s"

  # No retry: the next run does the work of a failed one.
  retry_config {
    retry_count = 0
  }

  http_target {
    http_method = "POST"
    uri         = local.urls[each.key]
    oidc_token {
      service_account_email = google_service_account.scheduler.email
      audience              = local.urls[each.key]
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.scheduled]
}
