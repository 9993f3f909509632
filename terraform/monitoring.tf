# The notification channel, the uptime check and the dashboard.

resource "google_monitoring_notification_channel" "email" {
  display_name = "Shop alerts"
  type         = "email"
  labels       = { email_address = coalesce(var.alert_email, var.admin_email) }
  user_labels  = local.labels

  depends_on = [google_project_service.api]
}

# /health/ready answers 200 as long as every store that graphql needs answers.
resource "google_monitoring_uptime_check_config" "graphql" {
  display_name = "GraphQL is ready"
  period       = var.environment == "prod" ? "60s" : "300s" # each check starts an instance, from six locations
  timeout      = "30s"                                      # a cold start takes some seconds
  user_labels  = local.labels

  http_check {
    path         = "/health/ready"
    port         = 443
    use_ssl      = true
    validate_ssl = true
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project_id
      host       = trimprefix(google_cloud_run_v2_service.function["graphql"].uri, "https://")
    }
  }
}

locals {
  charts = [
    { title = "Requests per second, by function", filter = local.of_run["request_count"], aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", by = ["resource.label.service_name"] },
    { title = "Failed requests per second, by function", filter = "${local.of_run["request_count"]} AND metric.labels.response_code_class=\"5xx\"", aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", by = ["resource.label.service_name"] },
    { title = "95 of 100 requests took less than (ms), by function", filter = local.of_run["request_latencies"], aligner = "ALIGN_PERCENTILE_95", reducer = "REDUCE_MAX", by = ["resource.label.service_name"] },
    { title = "Instances, by function", filter = local.of_run["container/instance_count"], aligner = "ALIGN_MAX", reducer = "REDUCE_SUM", by = ["resource.label.service_name"] },
    { title = "Projection lag (s), by read model", filter = local.of_shop["projection_lag_seconds"], aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = ["metric.label.read_model"] },
    { title = "Outbox: age of the oldest message (s)", filter = local.of_shop["outbox_oldest_age_seconds"], aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = ["metric.label.outbox"] },
    { title = "Sagas, by status", filter = local.of_shop["sagas"], aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = ["metric.label.status"] },
    { title = "Sagas whose deadline nobody fired", filter = local.of_shop["sagas_overdue"], aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = [] },
    { title = "Dead letters that wait for a person", filter = local.of_shop["dead_letters_pending"], aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = [] },
    { title = "Pub/Sub: age of the oldest message (s), by subscription", filter = local.of_subscriptions["oldest_unacked_message_age"], aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = ["resource.label.subscription_id"] },
    { title = "Pub/Sub: messages not yet delivered, by subscription", filter = local.of_subscriptions["num_undelivered_messages"], aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = ["resource.label.subscription_id"] },
    { title = "Events per second, by type", filter = local.of_shop["events_total"], aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", by = ["metric.label.type"] },
    { title = "Database connections, by database", filter = local.of_database["postgresql/num_backends"], aligner = "ALIGN_MAX", reducer = "REDUCE_SUM", by = ["metric.label.database"] },
    { title = "Database: share of the processor in use", filter = local.of_database["cpu/utilization"], aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", by = [] },
  ]
}

# A grid without positions: Cloud Monitoring drops a position of 0, and every plan would add it again.
resource "google_monitoring_dashboard" "shop" {
  dashboard_json = jsonencode({
    displayName = "Shop (${var.environment})"
    labels      = { for name, value in local.labels : name => value }
    gridLayout = {
      columns = "2"
      widgets = [for chart in local.charts : {
        title = chart.title
        xyChart = {
          dataSets = [{
            plotType   = "LINE"
            targetAxis = "Y1"
            timeSeriesQuery = {
              timeSeriesFilter = {
                filter = chart.filter
                aggregation = merge(
                  { alignmentPeriod = "60s", perSeriesAligner = chart.aligner, crossSeriesReducer = chart.reducer },
                  length(chart.by) == 0 ? {} : { groupByFields = chart.by },
                )
              }
            }
          }]
        }
      }]
    }
  })
}
