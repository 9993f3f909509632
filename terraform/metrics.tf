# The descriptors of the metrics that report_metrics writes. They must exist first: Cloud Monitoring refuses an alert policy on
# an unknown metric. They are read from the table that the code reads, so name, kind, unit and labels are the same.
#
# If report_metrics ever runs first, Cloud Monitoring makes descriptors of what it writes, and Terraform adds unit and text.
locals {
  metric_table = yamldecode(file("${path.module}/../shared/monitoring/metrics.yaml"))
  metrics = {
    for name, one in local.metric_table : trimprefix(name, "shop_") => {
      kind   = { counter = "CUMULATIVE", gauge = "GAUGE" }[one.kind]
      unit   = one.unit
      value  = { "1" = "INT64", s = "DOUBLE" }[one.unit]
      labels = one.labels
      help   = one.help
    } if one.known_to == "stores"
  }
}

resource "google_monitoring_metric_descriptor" "shop" {
  for_each = local.metrics

  type         = "custom.googleapis.com/shop/${each.key}"
  metric_kind  = each.value.kind
  value_type   = each.value.value
  unit         = each.value.unit
  display_name = "shop_${each.key}"
  description  = each.value.help

  dynamic "labels" {
    for_each = each.value.labels
    content {
      key = labels.value
    }
  }

  depends_on = [google_project_service.api]
}

# The filters of the policies and the dashboard. The shop's own metrics are named by their descriptor, so that Terraform finds a
# wrong name, and creates the descriptor first.
locals {
  of_shop = {
    for name, one in google_monitoring_metric_descriptor.shop : name => "metric.type=\"${one.type}\" AND resource.type=\"global\""
  }
  of_run = {
    for name in ["request_count", "request_latencies", "container/instance_count"] : name => join(" AND ", [
      "metric.type=\"run.googleapis.com/${name}\"",
      "resource.type=\"cloud_run_revision\"",
      "resource.labels.service_name=starts_with(\"shop-\")",
    ])
  }
  of_subscriptions = {
    for name in ["oldest_unacked_message_age", "num_undelivered_messages"] :
    name => "metric.type=\"pubsub.googleapis.com/subscription/${name}\" AND resource.type=\"pubsub_subscription\""
  }
  of_database = {
    for name in ["postgresql/num_backends", "cpu/utilization", "disk/utilization"] : name => join(" AND ", [
      "metric.type=\"cloudsql.googleapis.com/database/${name}\"",
      "resource.type=\"cloudsql_database\"",
      "resource.labels.database_id=\"${var.project_id}:${google_sql_database_instance.postgres.name}\"",
    ])
  }
}
