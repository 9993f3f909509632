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
  charts = {
    "Requests per second, by function"                        = "sum by (service_name) (rate(${local.of_run["request_count"]}[1m]))"
    "Failed requests per second, by function"                 = "sum by (service_name) (rate(${local.failed_requests}[1m]))"
    "95 of 100 requests took less than (ms), by function"     = "histogram_quantile(0.95, sum by (le, service_name) (rate(${local.of_run["request_latencies_bucket"]}[5m])))"
    "Instances, by function"                                  = "sum by (service_name) (${local.of_run["container_instance_count"]})"
    "GraphQL requests per second, by outcome"                 = "sum by (outcome) (rate(${local.of_log["shop_graphql_requests_total"]}[5m]))"
    "Errors per second, by function and code"                 = "sum by (function, code) (rate(${local.of_log["shop_errors_total"]}[5m]))"
    "Failed deliveries per second, by consumer and code"      = "sum by (subscription, code) (rate(${replace(local.of_log["shop_deliveries_total"], "}", ",code!=\"OK\"}")}[5m]))"
    "Projection lag (s), by read model"                       = "max by (read_model) (${local.of_shop["projection_lag_seconds"]})"
    "Outbox: age of the oldest message (s)"                   = "max by (outbox) (${local.of_shop["outbox_oldest_age_seconds"]})"
    "Sagas, by status"                                        = "max by (status) (${local.of_shop["sagas"]})"
    "Sagas whose deadline was not fired"                      = "max (${local.of_shop["sagas_overdue"]})"
    "Dead letters that wait for a person"                     = "max (${local.of_shop["dead_letters_pending"]})"
    "Pub/Sub: age of the oldest message (s), by subscription" = "max by (subscription_id) (${local.of_subscriptions["oldest_unacked_message_age"]})"
    "Pub/Sub: messages not yet delivered, by subscription"    = "max by (subscription_id) (${local.of_subscriptions["num_undelivered_messages"]})"
    "Events per second, by type"                              = "sum by (type) (rate(${local.of_shop["events_total"]}[5m]))"
    "Database connections, by database"                       = "sum by (database) (${local.of_database["postgresql_num_backends"]})"
    "Database: share of the processor in use"                 = "max (${local.of_database["cpu_utilization"]})"
  }
}

# A grid without positions: Cloud Monitoring drops a position of 0, and every plan would add it again.
resource "google_monitoring_dashboard" "shop" {
  dashboard_json = jsonencode({
    displayName = "Shop (${var.environment})"
    labels      = { for name, value in local.labels : name => value }
    gridLayout = {
      columns = "2"
      widgets = [for title, query in local.charts : {
        title = title
        xyChart = {
          dataSets = [{ plotType = "LINE", targetAxis = "Y1", timeSeriesQuery = { prometheusQuery = query } }]
        }
      }]
    }
  })
}
