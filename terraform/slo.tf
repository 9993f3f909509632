# The service level objective of mutations, and the alerts when its error budget burns too fast.
# A mutation is a request to one of the command functions. It failed if the answer was a 5xx, or 429: Cloud Run's answer when
# all instances are busy. Other refusals are the client's fault. Mutations that never reach a function show at the door: the
# alerts `client_errors`, `door_full`, `dead_door` and `unreachable` (alerts.tf).

resource "google_monitoring_custom_service" "mutations" {
  service_id   = "shop-mutations"
  display_name = "Shop: mutations"
  user_labels  = local.labels

  depends_on = [google_project_service.api]
}

locals {
  mutations = join(" AND ", [
    "metric.type=\"run.googleapis.com/request_count\"",
    "resource.type=\"cloud_run_revision\"",
    "resource.labels.service_name=one_of(${join(",", [
      for one in local.functions : "\"${one.service_name}\"" if one.group == "commands"
    ])})",
  ])

  # After Google's Site Reliability Workbook: both windows must burn; the short one ends the alert soon after the failures end. `rate`: 14.4 uses 2 % of the budget of 30 days in an hour, 6 uses 5 % in six.
  burn_rates = {
    fast = { severity = "CRITICAL", rate = 14.4, long = "3600s", short = "300s" }
    slow = { severity = "WARNING", rate = 6, long = "21600s", short = "1800s" }
  }
}

resource "google_monitoring_slo" "mutations" {
  service             = google_monitoring_custom_service.mutations.service_id
  slo_id              = "answered"
  display_name        = "999 of 1,000 mutations are answered, over 30 days"
  goal                = 0.999
  rolling_period_days = 30
  user_labels         = local.labels

  request_based_sli {
    good_total_ratio {
      total_service_filter = local.mutations
      bad_service_filter   = "${local.mutations} AND metric.labels.response_code=monitoring.regex.full_match(\"5..|429\")"
    }
  }
}

resource "google_monitoring_alert_policy" "burn_rate" {
  for_each = local.burn_rates

  display_name          = "Mutations fail: the error budget burns ${each.key}"
  severity              = each.value.severity
  combiner              = "AND"
  notification_channels = [google_monitoring_notification_channel.email.id]
  user_labels           = local.labels

  dynamic "conditions" {
    for_each = [each.value.long, each.value.short]
    content {
      display_name = "${each.value.rate} times as many failures as the objective allows, over ${conditions.value}"
      condition_threshold {
        filter          = "select_slo_burn_rate(\"${google_monitoring_slo.mutations.id}\", \"${conditions.value}\")"
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.rate
        duration        = "0s"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      At most 1 of 1,000 mutations may fail, and ${each.value.rate} times as many do.

      **First**, see which commands fail and why:

          gcloud logging read 'resource.type="cloud_run_revision" severity>=ERROR' --project ${var.project_id} --freshness 30m --limit 30

      and as an admin query `{ health { status checks { name status message } } }`. All of them at once: the event store (connections,
      processor: dashboard "Shop"). One of them, since the last deployment: go back to the code before with
      `scripts/deploy ${var.project_id} --rollback`.
    EOT
  }

  alert_strategy {
    auto_close = "86400s"
  }
}
